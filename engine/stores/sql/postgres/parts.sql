-- What is asked where many decide, each a part at a time.

-- name: unlock
-- Give the right to write back.
select pg_advisory_unlock($1);

-- name: unshare
-- Give the right to decide parts back.
select pg_advisory_unlock_shared($1);

-- name: share
-- The right to decide parts, beside others who have it.
select pg_try_advisory_lock_shared($1);

-- name: has_parts
-- Whether many decide on this store.
select exists (select 1 from part);

-- name: begin_log
-- The log goes on where one engine for all stood; what is due behind that waits for what comes in.
update log set at = greatest(log.at, $1), frontier = greatest(log.at, $1) - 1;

-- name: make_parts
-- The rows of all parts begin where one engine for all stood. Each is looked at once, for slots of those who are silent.
insert into part (part, at, slot_at) select place, engine.at, engine.at from generate_series(0, 255) as place, engine;

-- name: stamp_inbox
-- What waits has the engine's clock at its place.
update inbox set stamp = fresh.stamp from unnest($1::bigint[], $2::bigint[]) as fresh (seq, stamp)
where inbox.seq = fresh.seq;

-- name: busy_parts
-- Parts with something to do. Each question is one look at an index whatever the planner thinks of the tables.
select part, ran from part, (select coalesce(frontier, $1) as upto from log) as time
where (select seq from inbox where inbox.part = part.part order by part, seq limit 1) is not null
    or (
        select wake_at from subject where subject.part = part.part and wake_at is not null
        order by part, wake_at, id limit 1
    ) <= upto
    or slot_at <= upto
order by case when worker = $2 then ran - $3 else ran end;

-- name: hold_part
-- Hold the row of a part, unless somebody else does.
select turn, at, slot_at from part where part = $1 for update skip locked;

-- name: time_of_log
-- Up to when what is due may go.
select coalesce(frontier, $1) from log;

-- name: leave_part
-- A part was decided.
update part set turn = turn + 1, at = $2, slot_at = $3, worker = $4,
    ran = (extract(epoch from clock_timestamp()) * 1000000)::bigint
where part = $1;

-- name: read_log
-- Events of a part, in order, each with the engine's clock at its place.
select seq, body, stamp from inbox where part = $1 and seq > $2 order by seq limit $3;

-- name: clear_log
-- Events that are decided.
delete from inbox where seq = any($1::bigint[]);

-- name: add_letters
-- Events put into the logs of parts behind a place of this transaction, in order; what is decided or waits already is
-- passed over.
insert into inbox (part, seq, id, body, stamp)
select part, (pg_current_xact_id()::text::bigint << 20) + $5 + place, id, body, stamp
from unnest($1::smallint[], $2::text[], $3::bytea[], $4::bigint[])
    with ordinality as fresh (part, id, body, stamp, place)
where not exists (select 1 from decided_id where decided_id.id = fresh.id)
order by place
on conflict (id) do nothing;

-- name: hold_log
-- The newest time that came in, also by way of answers to what was sent; others who take in wait.
select greatest(at, (select max(at) from part)) from log where one for update;

-- name: log_behind
-- Whether a part went on behind the end of all that came in, so that what is due by then may go everywhere.
select coalesce(frontier = at, false) and at < (select max(at) from part) from log;

-- name: grow_log
-- The newest time that came in, and up to when what is due may go.
update log set at = $1, frontier = $2 where one;

-- name: part_wakes
-- Wake-ups of a part before an instant, the earliest first.
select wake_at, id from subject where part = $1 and wake_at < $2 order by wake_at, id limit $3;

-- name: part_next_wake
-- The earliest wake-up of a part.
select wake_at from subject where part = $1 and wake_at is not null order by wake_at, id limit 1;

-- name: part_subjects_after
-- A page of the subjects of a part after one.
select id from subject where part = $1 and id > $2 order by id limit $3;

-- name: part_slots
-- How far the slots of triggers are walked in a part; as they were for all, where it never walked.
select name, body from part_slot where part = $1
union all
select name, body from slot
where not exists (select 1 from part_slot where part = $1 and part_slot.name = slot.name)
order by name;

-- name: save_part_slots
-- The same, as they stand now.
insert into part_slot (part, name, body) select $1, * from unnest($2::text[], $3::bytea[])
on conflict (part, name) do update set body = excluded.body;

-- name: drop_part_slots
-- Triggers left the program.
delete from part_slot where part = $1 and name = any($2::text[]);

-- name: add_part_counters
-- Add to counters of a part.
insert into part_counter (part, name, n) select $1, * from unnest($2::text[], $3::bigint[])
on conflict (part, name) do update set n = part_counter.n + excluded.n;

-- name: add_part_figures
-- Add to figures of playbooks in a part.
insert into part_figure (part, playbook, name, n) select $1, * from unnest($2::text[], $3::text[], $4::bigint[])
on conflict (part, playbook, name) do update set n = part_figure.n + excluded.n;

-- name: make_resource
-- A scarce resource nobody asked for before has a row to be held.
insert into resource (name, body) values ($1, $2) on conflict do nothing;

-- name: hold_resource
-- The state of a scarce resource; it is held to the end of the transaction.
select body from resource where name = $1 for update;

-- name: hold_resource_now
-- The same; fails at once where somebody else holds it.
select body from resource where name = $1 for update nowait;

-- name: hold_coupon
-- A code that was given is held to the end of the transaction; fails at once where somebody else holds it.
select 1 from coupon_grant where code = $1 for update nowait;

-- name: all_part_slots
-- How far the slots of triggers are walked in every part.
select name, body from part_slot order by name, part;

-- name: join_clock
-- One engine for all goes on where the part that is furthest stands.
update engine set at = greatest(at, (select max(at) from part), (select log.at from log)) where one;

-- name: drop_slots_of_parts
-- One table of slots holds for all.
delete from part_slot;

-- name: drop_parts
-- Nobody decides parts any more.
delete from part;
