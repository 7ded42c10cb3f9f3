-- A whole store as records, see moving.py.

-- name: whole_meta
-- Every named word.
select name, value from meta order by name;

-- name: whole_clock
-- The engine's clock.
select at from clock;

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
select subject from trail where log = 0 and seq = 0 order by subject;

-- name: whole_state
-- Every state.
select id, state, wake_at from subject order by id;

-- name: whole_blocks
-- Every block of events.
select seq, body from event_block order by seq;

-- name: whole_hearers
-- Which groups, and whether the program, heard events of which block.
select seq, subject from trail where log = 1 and subject >= char(1) and subject < char(2) order by seq;

-- name: whole_id_blocks
-- Every block of ids whose events are gone.
select until, body from id_block order by seq;

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
select name, body from resource order by name;

-- name: whole_slot
-- Every slot.
select name, body from slot order by name;

-- name: whole_decision
-- Every verdict that was not erased.
select subject, body from decision where length(body) > 0 order by seq;

-- name: whole_entries
-- Every block of the ledger.
select body from entry_block order by seq;

-- name: whole_goal
-- Every goal.
select playbook, occurrence, user, held, time, worth from goal order by seq;

-- name: whole_milestone
-- Every milestone.
select playbook, occurrence, user, what, name, time from milestone order by seq;

-- name: whole_rejected
-- Every record in quarantine.
select feed, position, reason, message, raw, at from quarantine order by seq;

-- name: whole_position
-- How far every feed is read.
select feed, position from position order by feed;

-- name: whole_counter
-- Every counter.
select name, n from counter order by name;

-- name: whole_figure
-- Every figure.
select playbook, name, n from figure order by playbook, name;

-- name: whole_in_use
-- Whether anything stands in the store.
select exists (select 1 from subject) or exists (select 1 from event_block) or exists (select 1 from inbox)
    or exists (select 1 from effect) or exists (select 1 from position) or exists (select 1 from state_log)
    or exists (select 1 from meta where name <> 'epoch') or exists (select 1 from version)
    or exists (select 1 from quarantine) or exists (select 1 from coupon_code) or exists (select 1 from counter)
    or exists (select 1 from slot) or exists (select 1 from erased);

-- name: whole_add_effect
-- An effect as it stood elsewhere.
insert into effect (
    seq, key, subject, time, channel, body, delivery, attempts, next_at, tried_at, outcome, receipt, carries
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: whole_add_place
-- Where an effect is found by its key.
insert into effect_place (key, seq) values (?, ?);
