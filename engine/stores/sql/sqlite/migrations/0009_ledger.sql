-- The ledger: everything of value that moved, in blocks and in order of decision. Rows are only ever added at the end.
-- seq: running number of the last entry of the block.
-- body: JSON list of [key, time, book, name, what, delta, subject, playbook, step, unit, until, amount, origin].
create table entry_block (
    seq integer primary key,
    body blob not null
) strict;

-- Subjects of the blocks that the trail does not hold yet, as a JSON list. In the trail the ledger is log 5.
create table entry_subjects (
    seq integer primary key,
    subjects text not null
) strict;

insert into trailed (log, seq) values (5, 0);

-- What stands in the log of states goes to its place, the newest last, so that balances stand at one place.
insert into subject (id, state, wake_at)
select line.value ->> '$.id', cast(line.value as blob), line.value ->> '$.wake_at'
from state_log, json_each('[' || replace(rtrim(cast(state_log.body as text), char(10)), char(10), ',') || ']') as line
where true order by state_log.seq, line.key
on conflict (id) do update set state = excluded.state, wake_at = excluded.wake_at;

delete from state_log;

-- What stood there before there was a ledger: codes given away as they were given, seats and balances as they are now.
create temp table opening (
    seq integer primary key,
    subject text,
    line text not null
) strict;

insert into opening (subject, line)
select effect.subject, json_array(
    coupon_grant.key, effect.time, 'coupon', coupon_grant.pool, 'issued', 1, effect.subject,
    cast(effect.body as text) ->> '$[0]', cast(effect.body as text) ->> '$[1]', coupon_grant.code,
    unixepoch(cast(effect.body as text) ->> '$[7].expires_at') * 1000000,
    case when json_type(cast(effect.body as text), '$[7].value.off') in ('integer', 'real')
        then cast(effect.body as text) -> '$[7].value.off' end,
    null
)
from coupon_grant join effect on effect.key = coupon_grant.key order by effect.seq;

insert into opening (subject, line)
select subject.id, json_array(
    hold.value ->> 3, (select coalesce(max(at), 0) from clock),
    'seat', hold.value ->> 0, 'opening', 1, subject.id, null, null, hold.value ->> 1, hold.value ->> 2, null, null
)
from subject, json_each(cast(subject.state as text), '$.holds') as hold order by subject.id, hold.key;

insert into opening (subject, line)
select subject.id, json_array(
    'opening:points:' || row_number() over (order by subject.id, account.key),
    (select coalesce(max(at), 0) from clock),
    'points', account.key, 'opening', account.value, subject.id, null, null, null, null, null, null
)
from subject, json_each(cast(subject.state as text), '$.points') as account
where account.value <> 0 order by subject.id, account.key;

insert into entry_block (seq, body)
select last, cast('[' || (
    select group_concat(line, ',') from (
        select line from opening where seq between place * 100 + 1 and place * 100 + 100 order by seq
    )
) || ']' as blob)
from (select (seq - 1) / 100 as place, max(seq) as last from opening group by 1);

insert into entry_subjects (seq, subjects)
select max(seq), json_group_array(distinct subject) from opening group by (seq - 1) / 100;

drop table opening;
