-- What must hold of a store. Bodies are read by drumbeat_document, for which no text is a failure.

-- name: look_through
-- To the end of this transaction whole tables are looked through where that is quicker; the one who decides never does.
select set_config('enable_seqscan', 'on', true);

-- name: integrity
-- What PostgreSQL itself finds.
select found from drumbeat_damage() as found limit 20;

-- name: check_wakes
-- Subjects whose place in the index of wake-ups is not what their state says.
select id from (select id, wake_at, drumbeat_document(state) as doc from subject offset 0) as one
where doc is not null and wake_at is distinct from (doc ->> 'wake_at')::numeric;

-- name: check_names
-- States that stand at another subject's place.
select id from (select id, drumbeat_document(state) as doc from subject offset 0) as one
where doc is not null and id is distinct from doc ->> 'id';

-- name: parts
-- Which part each subject is in.
select id, part from subject;

-- name: check_orphans
-- Effects on users nobody knows a state of, aside from some. Who was erased and came back has a state under its own name
-- again.
select key from (
    select key, subject, body from effect
    where subject is not null and subject <> all ($1::text[])
        and not exists (select 1 from subject as known where known.id = effect.subject)
        and not exists (select 1 from erased where erased.alias = effect.subject)
    offset 0
) as one where drumbeat_document(body) ->> 3 = subject;

-- name: check_subjects
-- Effects that are found under another name than the one they are about.
select key from (select key, subject, drumbeat_document(body) as doc from effect offset 0) as one
where doc is not null
    and subject is distinct from coalesce(doc ->> 3, chr(1) || 'group:' || (doc ->> 4), chr(1) || 'program');

-- name: coupon_effects
-- Coupons that effects say were given.
select key, doc #>> '{7,code}' from (
    select key, drumbeat_document(body) as doc from (
        select key, body from effect where position('"coupon"'::bytea in body) > 0 offset 0
    ) as few offset 0
) as one
where doc ->> 2 = 'coupon' and doc ->> 5 = 'planned' and doc #>> '{7,code}' is not null;

-- name: grants
-- Where each coupon stands.
select code, pool, key, status, by from coupon_grant;

-- name: check_pools
-- Coupons of each pool that are out, by what each may cost.
select pool, amount, count(*) from coupon_grant where status <> 'returned' group by 1, 2;

-- name: check_points
-- Every booking of points, each account's in order.
select subject, (doc #>> '{7,account}') collate "C", (doc #>> '{7,delta}')::numeric, (doc #>> '{7,balance}')::numeric, key
from (
    select subject, seq, key, drumbeat_document(body) as doc from (
        select subject, seq, key, body from effect where position('"points"'::bytea in body) > 0 offset 0
    ) as few offset 0
) as one
where doc ->> 2 = 'points' and doc ->> 5 = 'planned' order by subject, 2, seq;

-- name: check_entry_keys
-- Keys that stand in the ledger more than once.
select key from entry group by 1 having count(*) > 1;

-- name: check_booked
-- Users whose points a feed booked too; an eighth part of an event says that the engine made the event.
select distinct subject from (
    select subject, drumbeat_document(body) -> 0 as doc from (
        select subject, body from event where position('"points.changed"'::bytea in body) > 0 offset 0
    ) as few offset 0
) as one
where doc ->> 3 = 'points.changed' and coalesce(doc ->> 7, '0') = '0' and subject is not null;

-- name: check_counters
-- Counters that do not say what the logs hold.
with counted as (
    select name, sum(n) as n from (select name, n from counter union all select name, n from part_counter) as it
    group by name
)
select name from counted where name = 'events' and n <> (select count(*) from event)
    + coalesce((select forgotten.n from forgotten where log = 'events'), 0)
union all
select name from counted join (
    select 'effects.' || (doc ->> 2) || '.' || (doc ->> 5) as what, count(*) as m
    from (select drumbeat_document(body) as doc from effect offset 0) as one group by 1
) as held on what = name where n <> m and not exists (select 1 from effect where drumbeat_document(body) is null);

-- name: check_figures
-- Playbooks whose figure of effects is not what the log holds.
select playbook from (
    select playbook, name, sum(n) as n
    from (select playbook, name, n from figure union all select playbook, name, n from part_figure) as it
    group by playbook, name
) as figured join (
    select doc ->> 0 as who, count(*) as m from (select drumbeat_document(body) as doc from effect offset 0) as one group by 1
) as held on who = playbook
where name = 'effects' and n <> m and not exists (select 1 from effect where drumbeat_document(body) is null);

-- name: check_inbox
-- Events that wait and were decided.
select id from inbox where exists (select 1 from decided_id where decided_id.id = inbox.id);

-- name: check_delivery
-- Deliveries without a channel, or of effects that are not to be sent.
select key from (
    select key, channel, drumbeat_document(body) as doc from effect where delivery is not null offset 0
) as one where channel is null or doc ->> 5 <> 'planned';

-- name: check_trail
-- Rows whose columns say otherwise than they do: whose they are, what they are called, when they were.
select 'event ' || seq from (
    select seq, id, subject, time, drumbeat_document(body) -> 0 as doc from event where body <> '[null]' offset 0
) as one
where jsonb_typeof(doc) = 'array' and (
    id is distinct from doc ->> 0 or time is distinct from (doc ->> 1)::numeric
    or subject is distinct from coalesce(doc ->> 4, doc ->> 5)
)
union all
select 'decision ' || seq from (
    select seq, subject, time, drumbeat_document(body) as doc from decision offset 0
) as one
where doc is not null and (
    time is distinct from (doc ->> 0)::numeric
    or subject is distinct from coalesce(doc ->> 2, chr(1) || 'group:' || (doc ->> 3), chr(1) || 'program')
)
union all
select 'entry ' || seq from (
    select entry.*, drumbeat_document(body) -> 0 as doc from entry offset 0
) as one
where jsonb_typeof(doc) = 'array' and (
    key is distinct from doc ->> 0 or time is distinct from (doc ->> 1)::numeric or book is distinct from doc ->> 2
    or name is distinct from doc ->> 3 or subject is distinct from doc ->> 6
)
union all
select heard.subject || ' ' || heard.seq from heard
where not exists (select 1 from event where event.seq = heard.seq and event.id <> '');

-- name: check_clock
-- Events decided later than the engine's clock stands; of one that was erased nobody knows in which part.
select id from event left join part on part.part = event.part and id <> ''
where decided_at > greatest(
    part.at, (select at from engine), case when id = '' then (select max(at) from part) end
);

-- name: check_ids
-- Events whose id is not remembered although it is not forgotten yet, and ids that are remembered of no event.
select id from event
where id <> '' and greatest(time, decided_at) > coalesce((select at from forgotten where log = 'ids'), -9223372036854775808)
    and not exists (select 1 from decided_id where decided_id.id = event.id)
union all
select id from decided_id
where at > coalesce((select at from forgotten where log = 'events'), -9223372036854775808)
    and not exists (select 1 from event where event.id = decided_id.id);

-- name: check_migrations
-- Which migrations were applied, and what each said.
select version, sha256 from migration order by version;
