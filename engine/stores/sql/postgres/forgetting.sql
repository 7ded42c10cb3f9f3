-- What retention takes away.

-- name: oldest_events
-- Of the oldest events, so many at most, those in front of the first that is not older than an instant: number of the
-- last, the newest instant, and how many.
with oldest as (
    select seq, greatest(time, decided_at) as at from event order by seq limit $2
)
select max(seq), max(at), count(*) from oldest
where seq < coalesce((select min(seq) from oldest where at >= $1), 9223372036854775807);

-- name: mark_forgotten
-- Of whom events up to a number will be missing.
insert into forgotten_of (subject)
select subject from event where seq <= $1 and subject is not null
union
select subject from heard where seq <= $1
on conflict do nothing;

-- name: drop_heard
-- Nobody hears of events that are forgotten.
delete from heard where seq <= $1;

-- name: drop_events
-- Events up to a number are forgotten.
delete from event where seq <= $1;

-- name: drop_event_parts
-- Parts of the table in which nothing is left give their room back, unless somebody looks at them.
select drop_event_parts();

-- name: drop_old_part
-- The oldest part of the table as a whole, where all of it is older than an instant: number of its last event, the
-- newest instant, and how many went.
select upto, newest, gone from drop_old_part($1);

-- name: drop_ids
-- Ids of events that happened, and were decided, before an instant, so many at most; their newest instant.
with old as (select id from decided_id where at < $1 order by at limit $2),
gone as (delete from decided_id where id in (select id from old) returning at)
select max(at), count(*) from gone;

-- name: oldest_decisions
-- As of events.
with oldest as (
    select seq, time as at from decision order by seq limit $2
)
select max(seq), max(at), count(*) from oldest
where seq < coalesce((select min(seq) from oldest where at >= $1), 9223372036854775807);

-- name: drop_decisions
-- Verdicts up to a number are forgotten.
delete from decision where seq <= $1;

-- name: oldest_rejected
-- Records in quarantine, the oldest first.
select seq, at from quarantine order by seq limit $1;

-- name: save_forgotten
-- How far a log is forgotten.
insert into forgotten (log, at, n) values ($1, $2, $3)
on conflict (log) do update set at = greatest(forgotten.at, excluded.at), n = forgotten.n + excluded.n;

-- name: forgotten_of
-- Until when events of a subject may be missing.
select at from forgotten where log = 'events' and exists (select 1 from forgotten_of where subject = $1);
