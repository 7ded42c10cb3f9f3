-- The whole store, read once for a report.

-- name: sweep_events
-- Every decided event.
select body from event order by seq;

-- name: sweep_effects
-- Every effect.
select key, time, channel, body, delivery from effect order by seq;

-- name: sweep_milestones
-- Who came how far, in order.
select playbook, occurrence, "user", what, name, time from milestone order by seq;

-- name: sweep_goals
-- Every goal reached.
select playbook, occurrence, "user", time, worth from goal order by seq;

-- name: sweep_entries
-- Every entry of the ledger.
select body from entry order by seq;

-- name: sweep_decisions
-- Every verdict that was kept.
select body from decision;

-- name: sweep_forgotten
-- Subjects of whom events were forgotten.
select subject from forgotten_of order by subject;
