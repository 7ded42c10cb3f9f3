-- A whole store as records, see moving.py.

-- name: whole_meta
-- Every named word.
select name, value from meta order by name;

-- name: whole_clock
-- The engine's clock, once it stands anywhere.
select at from engine where at <> 0;

-- name: whole_version
-- Every version of a playbook.
select playbook, hash, since, sources, used from version order by playbook, hash;

-- name: whole_erased
-- Everybody who was erased.
select alias, at from erased order by alias;

-- name: whole_forgotten
-- How far logs are forgotten.
select log, at, n from forgotten order by log;

-- name: whole_missing
-- Subjects of whom events were forgotten.
select subject from forgotten_of order by subject;

-- name: whole_state
-- Every state.
select id, state, wake_at from subject order by id;

-- name: whole_id
-- Every id that is remembered, and whether its event is gone.
select id, subject, time, at, not exists (select 1 from event where event.id = decided_id.id) from decided_id
order by at, id;

-- name: whole_event
-- Every event, and who heard it beside its subject.
select event.subject, id, time, decided_at, history, body, names
from event left join (
    select seq, array_agg(subject order by subject) as names from heard group by seq
) as heard using (seq)
order by seq;

-- name: whole_inbox
-- Every event that waits.
select id, body from inbox order by seq;

-- name: whole_effect
-- Every effect.
select key, subject, time, channel, body, delivery, attempts, next_at, tried_at, outcome, receipt, carries
from effect order by seq;

-- name: whole_answer
-- Every answer.
select key, subject, body from answer order by key;

-- name: whole_grant
-- Every coupon that was given.
select code, pool, key, at, until, amount, playbook, step, status, moved, by from coupon_grant order by code;

-- name: whole_code
-- Every imported code.
select pool, place, code from coupon_code order by pool, place;

-- name: whole_resource
-- Every scarce resource.
select name, body from resource where octet_length(body) > 0 order by name;

-- name: whole_slot
-- Every slot.
select name, body from slot order by name;

-- name: whole_decision
-- Every verdict.
select subject, time, body from decision order by seq;

-- name: whole_entry
-- Every entry of the ledger.
select key, subject, book, name, time, body from entry order by seq;

-- name: whole_goal
-- Every goal.
select playbook, occurrence, "user", held, time, worth from goal order by seq;

-- name: whole_milestone
-- Every milestone.
select playbook, occurrence, "user", what, name, time from milestone order by seq;

-- name: whole_rejected
-- Every record in quarantine.
select feed, position, reason, message, raw, at from quarantine order by seq;

-- name: whole_position
-- How far every feed is read.
select feed, position from position order by feed;

-- name: whole_counter
-- Every counter.
select name, sum(n)::bigint from (select name, n from counter union all select name, n from part_counter) as it
group by name order by name;

-- name: whole_figure
-- Every figure.
select playbook, name, sum(n)::bigint
from (select playbook, name, n from figure union all select playbook, name, n from part_figure) as it
group by playbook, name order by playbook, name;

-- name: in_use
-- Whether anything stands in the store.
select exists (select 1 from subject) or exists (select 1 from event) or exists (select 1 from inbox)
    or exists (select 1 from effect) or exists (select 1 from position) or exists (select 1 from meta)
    or exists (select 1 from version) or exists (select 1 from quarantine) or exists (select 1 from coupon_code)
    or exists (select 1 from counter) or exists (select 1 from slot) or exists (select 1 from erased);

-- name: number_events
-- Numbers of events go on behind one.
select setval('event_number', $1);

-- name: whole_inbox_in
-- Events that wait, with their numbers.
insert into inbox (part, seq, id, body)
select part, (pg_current_xact_id()::text::bigint << 20) + place, id, body
from unnest($1::smallint[], $2::bigint[], $3::text[], $4::bytea[]) as fresh (part, place, id, body);
