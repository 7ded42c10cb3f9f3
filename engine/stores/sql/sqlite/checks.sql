-- name: check_wakes
-- Subjects whose place in the index of wake-ups is not what their state says.
select id from subject where wake_at is not cast(state as text) ->> '$.wake_at';

-- name: check_names
-- States that stand at another subject's place.
select id from subject where id is not cast(state as text) ->> '$.id';

-- name: check_orphans
-- Effects on users nobody knows a state of; the JSON array holds those whose state is in the log. Who was erased and came
-- back has a state under its own name again.
select key from effect
where subject is not null and cast(body as text) ->> '$[3]' = subject
    and not exists (select 1 from subject where subject.id = effect.subject)
    and not exists (select 1 from erased where erased.alias = effect.subject)
    and subject not in (select value from json_each(?));

-- name: check_subjects
-- Effects that are found under another name than the one they are about.
select key from effect
where subject is not coalesce(
    cast(body as text) ->> '$[3]', char(1) || 'group:' || (cast(body as text) ->> '$[4]'), char(1) || 'program'
);

-- name: check_grants
-- Codes given away without an effect that says so, and effects that name a code that was not given.
select code from coupon_grant where not exists (select 1 from effect where effect.key = coupon_grant.key)
union all
select key from effect
where cast(body as text) ->> '$[2]' = 'coupon' and cast(body as text) ->> '$[5]' = 'planned'
    and cast(body as text) ->> '$[7].code' is not null
    and not exists (
        select 1 from coupon_grant
        where coupon_grant.key = effect.key and coupon_grant.code = cast(effect.body as text) ->> '$[7].code'
    );

-- name: check_pools
-- Codes given away by each pool.
select pool, count(*) from coupon_grant group by pool;

-- name: check_points
-- Every booking of points, each account's in order.
select subject, cast(body as text) ->> '$[7].account', cast(body as text) ->> '$[7].delta',
    cast(body as text) ->> '$[7].balance', key
from effect where cast(body as text) ->> '$[2]' = 'points' and cast(body as text) ->> '$[5]' = 'planned'
order by subject, 2, seq;

-- name: check_entry_keys
-- Keys that stand in the ledger more than once.
select entry.value ->> 0 from entry_block, json_each(cast(entry_block.body as text)) as entry
group by 1 having count(*) > 1;

-- name: check_booked
-- Users whose points a feed booked too; an eighth part of an event says that the engine made the event.
select distinct coalesce(event.value ->> 4, event.value ->> 5)
from event_block, json_each(cast(event_block.body as text)) as event
where event.value ->> 3 = 'points.changed' and coalesce(event.value ->> 7, 0) = 0;

-- name: check_counters
-- Counters that do not say what the logs hold.
select name from counter where name = 'events' and n <> (
    select coalesce(sum(json_array_length(cast(body as text))), 0) from event_block
) + coalesce((select n from forgotten where log = 'events'), 0)
union all
select name from counter join (
    select 'effects.' || (cast(body as text) ->> '$[2]') || '.' || (cast(body as text) ->> '$[5]') as what, count(*) as m
    from effect group by 1
) on what = name where n <> m;

-- name: check_figures
-- Playbooks whose figure of effects is not what the log holds.
select playbook from figure join (
    select cast(body as text) ->> '$[0]' as who, count(*) as m from effect group by 1
) on who = playbook where name = 'effects' and n <> m;

-- name: check_inbox
-- Events that wait and were decided.
select id from inbox where exists (select 1 from decided_id where decided_id.id = inbox.id);

-- name: check_delivery
-- Deliveries without a channel, or of effects that are not to be sent.
select key from effect
where delivery is not null and (channel is null or cast(body as text) ->> '$[5]' <> 'planned');

-- name: check_trail
-- Logs whose trail goes further than they do, and rows of a trail that lead to somebody else's row.
select 'log ' || log from trailed where seq > case log
    when 1 then (select coalesce(max(seq), 0) from event_block)
    when 2 then (select coalesce(max(seq), 0) from effect)
    when 3 then (select coalesce(max(seq), 0) from decision)
    else (select coalesce(max(seq), 0) from entry_block)
end
union all
select subject || ' 1 ' || seq from (
    select subject, seq from trail where log = 1
    except
    select coalesce(event.value ->> 4, event.value ->> 5), event_block.seq
    from event_block, json_each(cast(event_block.body as text)) as event
) where substr(subject, 1, 1) <> char(1)
union all
select subject || ' 5 ' || seq from (
    select subject, seq from trail where log = 5
    except
    select entry.value ->> 6, entry_block.seq from entry_block, json_each(cast(entry_block.body as text)) as entry
)
union all
select trail.subject || ' ' || log || ' ' || trail.seq from trail where log not in (0, 1, 5) and not exists (
    select 1 from effect where log = 2 and effect.seq = trail.seq and effect.subject = trail.subject
    union all
    select 1 from decision where log = 3 and decision.seq = trail.seq and decision.subject = trail.subject
    union all
    select 1 from id_block, json_each(cast(id_block.body as text)) as kept
    where log = 4 and id_block.seq = trail.seq and kept.value ->> 1 = trail.subject
);

-- name: check_clock
-- Events decided later than the engine's clock stands.
select event.value ->> 0 from event_block, json_each(cast(event_block.body as text)) as event
where event.value ->> 2 > (select at from clock);

-- name: check_ids
-- Events whose id is not remembered although it is not forgotten yet, and ids that are remembered of no event.
with kept (id) as (
    select event.value ->> 0 from event_block, json_each(cast(event_block.body as text)) as event
    where event.type <> 'null' and event_block.seq > coalesce((select seq from forgotten where log = 'ids'), 0)
    union all
    select entry.value ->> 0 from id_block, json_each(cast(id_block.body as text)) as entry
)
select id from kept where id not in (select id from decided_id)
union all
select id from decided_id where id not in (select id from kept);

-- name: check_migrations
-- Which migrations were applied, and what each said.
select version, sha256 from migration order by version;

-- name: integrity
-- What SQLite itself finds.
select integrity_check from pragma_integrity_check(20);
