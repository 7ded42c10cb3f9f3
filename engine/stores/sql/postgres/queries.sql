-- "Is there a row" is asked with ``(select ...) is null``: that looks into the index for each row asked about, whatever
-- the server believes of a table that was empty when it made its plan. ``exists`` may become a scan of all there is.

-- name: load_states
-- States of some subjects.
select id, state from subject where id = any($1::text[]);

-- name: due_subjects
-- Wake-ups before an instant, the earliest first. One look at the index for each part, so that many workers, of which
-- each has parts of its own, ask the same.
select found.wake_at, found.id from generate_series(0, 255) as place
cross join lateral (
    select wake_at, id from subject where part = place::smallint and wake_at < $1
    order by wake_at, id limit $2
) as found
order by found.wake_at, found.id limit $2;

-- name: next_wake
-- The earliest wake-up of each part that has one.
select (select wake_at from subject where part = place::smallint and wake_at is not null order by wake_at, id limit 1)
from generate_series(0, 255) as place;

-- name: all_states
-- Every state in order of subject.
select id, state from subject order by id;

-- name: subjects_after
-- A page of subjects after one.
select id from subject where id > $1 order by id limit $2;

-- name: users_count
-- Number of subjects behind an id; up to it are no users.
select count(*) from subject where id > $1;

-- name: strangers
-- Which of some subjects have no state.
select wanted.id from unnest($1::text[]) as wanted (id)
where (select 1 from subject where subject.id = wanted.id) is null;

-- name: save_states
-- States of subjects, as they are now.
insert into subject (part, id, state, wake_at)
select * from unnest($1::smallint[], $2::text[], $3::bytea[], $4::bigint[])
on conflict (id) do update set state = excluded.state, wake_at = excluded.wake_at;

-- name: known_ids
-- Which of some ids are decided or wait in the inbox.
select wanted.id from unnest($1::text[]) as wanted (id)
where (select 1 from decided_id where decided_id.id = wanted.id) is not null
   or (select 1 from inbox where inbox.id = wanted.id) is not null;

-- name: decided_ids
-- Which of some ids are decided.
select id from decided_id where id = any($1::text[]);

-- name: make_event_room
-- There is room for events far enough ahead.
select event_room();

-- name: event_last
-- Number of the last event.
select last_value from event_number;

-- name: add_events
-- Events that were decided, in order.
insert into event (part, subject, id, time, decided_at, history, body)
select part, subject, id, time, decided_at, history, body from unnest(
    $1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bytea[]
) with ordinality as fresh (part, subject, id, time, decided_at, history, body, place)
order by place;

-- name: add_events_told
-- The same, and their numbers.
insert into event (part, subject, id, time, decided_at, history, body)
select part, subject, id, time, decided_at, history, body from unnest(
    $1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::boolean[], $7::bytea[]
) with ordinality as fresh (part, subject, id, time, decided_at, history, body, place)
order by place
returning seq;

-- name: add_decided
-- Their ids; each must be new.
insert into decided_id (id, subject, time, at)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]);

-- name: add_heard
-- Groups and the program heard events of these numbers.
insert into heard (subject, seq) select * from unnest($1::text[], $2::bigint[]) on conflict do nothing;

-- name: events_of
-- Events of a subject in order of decision.
select body from event where subject = $1 order by seq;

-- name: events_heard
-- Events of a group or the program.
select event.body from heard join event on event.seq = heard.seq where heard.subject = $1 order by heard.seq;

-- name: first_event
-- Engine clock at the decision of the oldest event there is, history aside.
select decided_at from event where not history order by seq limit 1;

-- name: events_since
-- A page of events behind a number, decided after an instant.
select seq, body from event where seq > $1 and decided_at > $2 order by seq limit $3;

-- name: unheard
-- Of which subjects nothing was decided up to an instant, and never was as far as is known.
select wanted.id from unnest($1::text[]) as wanted (id)
where (select 1 from event where event.subject = wanted.id and event.decided_at <= $2 limit 1) is null
    and (
        select 1 from heard join event on event.seq = heard.seq
        where heard.subject = wanted.id and event.decided_at <= $2 limit 1
    ) is null
    and not exists (select 1 from forgotten_of where forgotten_of.subject = wanted.id);

-- name: add_effects
-- Effects in order of decision; of a key that is there the first one stays.
insert into effect (part, key, subject, time, channel, body, delivery, carries)
select part, key, subject, time, channel, body, delivery,
    case when carries is not null then array(select json_array_elements_text(carries::json)) end
from unnest(
    $1::smallint[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[], $7::text[], $8::text[]
) with ordinality as fresh (part, key, subject, time, channel, body, delivery, carries, place)
order by place
on conflict (key) do nothing;

-- name: all_effects
-- Every effect with its delivery.
select key, time, channel, body, delivery from effect order by time, key;

-- name: effects_of
-- Effects of a subject with their delivery.
select key, time, channel, body, delivery from effect where subject = $1 order by time, key;

-- name: outcomes_of
-- Why deliveries to a subject stand as they do.
select key, outcome from effect where subject = $1 and outcome is not null;

-- name: save_answers
-- Answers to reservations.
insert into answer (key, subject, body) select * from unnest($1::text[], $2::text[], $3::bytea[])
on conflict (key) do update set subject = excluded.subject, body = excluded.body;

-- name: answers_of
-- Answers to the reservations of a subject.
select key, body from answer where subject = $1 order by key;

-- name: asker_of
-- Whose an answer is.
select subject from answer where key = $1;

-- name: save_resources
-- The state of scarce resources.
insert into resource (name, body) select * from unnest($1::text[], $2::bytea[])
on conflict (name) do update set body = excluded.body;

-- name: all_resources
-- The state of every scarce resource; one that was only asked for, where many decide, has none.
select name, body from resource where octet_length(body) > 0 order by name;

-- name: save_slots
-- How far the slots of triggers are walked.
insert into slot (name, body) select * from unnest($1::text[], $2::bytea[])
on conflict (name) do update set body = excluded.body;

-- name: drop_slots
-- Triggers left the program.
delete from slot where name in (select unnest($1::text[]));

-- name: all_slots
-- How far the slots of every trigger are walked.
select name, body from slot order by name;

-- name: add_decisions
-- Verdicts worth keeping, in order.
insert into decision (subject, time, body)
select subject, time, body from unnest($1::text[], $2::bigint[], $3::bytea[])
with ordinality as fresh (subject, time, body, place) order by place;

-- name: decisions_of
-- Verdicts about a subject in order.
select body from decision where subject = $1 order by seq;

-- name: add_entries
-- Entries of the ledger, in order.
insert into entry (key, subject, book, name, time, body)
select key, subject, book, name, time, body
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
with ordinality as fresh (key, subject, book, name, time, body, place) order by place;

-- name: entries_named
-- Entries of the ledger in order, of one book or name or of all.
select body from entry where ($1::text is null or book = $1) and ($2::text is null or name = $2) order by seq;

-- name: entries_of_subject
-- Entries of a subject in order.
select body from entry where subject = $1 order by seq;

-- name: entries_to_rename
-- Entries of somebody up to an instant.
select seq, body from entry where subject = $1 and time <= $2 order by seq;

-- name: rename_entry
-- An entry with a pseudonym.
update entry set key = $2, subject = $3, body = $4 where seq = $1;

-- name: add_goals
-- Goals reached, in order.
insert into goal (playbook, occurrence, "user", held, time, worth)
select playbook, occurrence, who, held, time, worth
from unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::bigint[], $6::text[])
with ordinality as fresh (playbook, occurrence, who, held, time, worth, place) order by place;

-- name: add_milestones
-- How far people came in playbooks, in order.
insert into milestone (playbook, occurrence, "user", what, name, time)
select playbook, occurrence, who, what, name, time
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
with ordinality as fresh (playbook, occurrence, who, what, name, time, place) order by place;

-- name: add_rejected
-- Records that are no events, in order.
insert into quarantine (feed, position, reason, message, raw, at)
select feed, position, reason, message, raw, at
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::bigint[])
with ordinality as fresh (feed, position, reason, message, raw, at, place) order by place;

-- name: all_rejected
-- Records in quarantine, the oldest first.
select feed, position, reason, message, raw, at, seq from quarantine order by seq;

-- name: one_rejected
-- One record in quarantine.
select feed, position, reason, message, raw, at, seq from quarantine where seq = $1;

-- name: drop_rejected
-- Records leave quarantine.
delete from quarantine where seq in (select unnest($1::bigint[]));

-- name: add_inbox
-- Events taken in behind a place of this transaction, in order; what is decided or waits already is passed over.
insert into inbox (part, seq, id, body)
select part, (pg_current_xact_id()::text::bigint << 20) + $4 + place, id, body
from unnest($1::smallint[], $2::text[], $3::bytea[]) with ordinality as fresh (part, id, body, place)
where (select 1 from decided_id where decided_id.id = fresh.id) is null
order by place
on conflict (id) do nothing;

-- name: read_inbox
-- Events taken in after a number, and which of them come after all that may still become visible before them.
select seq, body, seq < (pg_snapshot_xmin(pg_current_snapshot())::text::bigint << 20) as settled
from inbox where seq > $1 order by seq limit $2;

-- name: read_inbox_beside
-- The same, leaving out of account transactions that have nothing to do with this store.
select seq, body, seq < (coalesce(
    (
        select min(running::text::bigint) from pg_snapshot_xip(pg_current_snapshot()) as running
        where running::text::bigint <> all ($3::bigint[])
    ),
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint
) << 20) as settled
from inbox where seq > $1 order by seq limit $2;

-- name: strange_transactions
-- Transactions that run, and cannot write into this store: of other databases, and of the server itself. backend_xid
-- has 32 bits; the transaction that runs is the newest with these.
select running::text::bigint from pg_snapshot_xip(pg_current_snapshot()) as running
join pg_stat_activity as it on it.backend_xid::text::bigint = (running::text::bigint & 4294967295)
where it.backend_type <> 'client backend'
    or it.datid <> (select oid from pg_database where datname = current_database());

-- name: inbox_waiting
-- The oldest number of the inbox, and how many there are, counted as far as is worth it.
select coalesce(min(seq), 0), count(*) from (select seq from inbox order by seq limit 100000) as waiting;

-- name: clear_inbox
-- Forget events taken in up to a number: they are decided.
delete from inbox where seq <= $1;

-- name: inbox_ahead
-- Numbers of the inbox beyond any transaction of this server: it came from another one.
select count(*) from (
    select 1 from inbox where seq >= (pg_snapshot_xmax(pg_current_snapshot())::text::bigint << 20) limit 1
) as ahead;

-- name: renumber_inbox
-- What came from another server is behind all that is here, in its order.
update inbox set x = pg_current_xact_id(), seq = (pg_current_xact_id()::text::bigint << 20) + place.n
from (select id, row_number() over (order by seq) as n from inbox) as place where place.id = inbox.id;

-- name: save_positions
-- How far feeds are decided.
insert into position (feed, position) select * from unnest($1::text[], $2::bigint[])
on conflict (feed) do update set position = excluded.position;

-- name: position
-- How far a feed is decided.
select position from position where feed = $1;

-- name: save_clock
-- The engine's clock.
update engine set at = $1 where one;

-- name: clock
-- The engine's clock; where many decide, that of the part that is furthest.
select greatest(at, (select max(at) from part)) from engine;

-- name: save_versions
-- Versions of playbooks; what is known of one that is there stays, but for whether it is used.
insert into version (playbook, hash, since, sources, used)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::boolean[])
on conflict (playbook, hash) do update set used = excluded.used;

-- name: versions
-- Versions kept; those in use, or all.
select playbook, hash, since, sources, used from version where used or not $1
order by playbook, since, hash;

-- name: save_meta
-- A named word of the runtime.
insert into meta (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value;

-- name: meta
-- A named word of the runtime.
select value from meta where name = $1;

-- name: add_counters
-- Add to counters.
insert into counter (name, n) select * from unnest($1::text[], $2::bigint[])
on conflict (name) do update set n = counter.n + excluded.n;

-- name: counters
-- Every counter.
select name, sum(n)::bigint from (select name, n from counter union all select name, n from part_counter) as it
group by name order by name;

-- name: add_figures
-- Add to figures of playbooks.
insert into figure (playbook, name, n) select * from unnest($1::text[], $2::text[], $3::bigint[])
on conflict (playbook, name) do update set n = figure.n + excluded.n;

-- name: figures
-- Every figure of every playbook.
select playbook, name, sum(n)::bigint
from (select playbook, name, n from figure union all select playbook, name, n from part_figure) as it
group by playbook, name;

-- name: forgotten_until
-- Up to when a log was forgotten.
select at from forgotten where log = $1;
