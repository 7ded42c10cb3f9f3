-- name: load_states
-- States of the subjects named in a JSON array, as they stand in the table.
select s.id, s.state from json_each(?) as wanted cross join subject as s on s.id = wanted.value;

-- name: due_subjects
-- Wake-ups of the table after one (instant, subject) and before an instant, the earliest first.
select wake_at, id from subject
where wake_at is not null and (wake_at, id) > (?, ?) and wake_at < ? order by wake_at, id limit ?;

-- name: all_states
-- A page of states of the table after a subject.
select id, state from subject where id > ? order by id limit ?;

-- name: subjects_after
-- A page of subjects of the table after one; ids are compared by their bytes, which is the order of code points.
select id from subject where id > ? order by id limit ?;

-- name: save_state
-- A state goes to its place in the table.
insert into subject (id, state, wake_at) values (?, ?, ?)
on conflict (id) do update set state = excluded.state, wake_at = excluded.wake_at;

-- name: add_log
-- The states of one commit.
insert into state_log (body) values (?);

-- name: read_log
-- The states of commits after a number.
select seq, body from state_log where seq > ? order by seq;

-- name: log_span
-- The first and the last number in the log of states.
select coalesce(min(seq), 0), coalesce(max(seq), 0) from state_log;

-- name: clear_log
-- The states of the log up to a number are at their places.
delete from state_log where seq <= ?;

-- name: known_ids
-- Which ids of a JSON array are decided or wait in the inbox.
select wanted.value from json_each(?) as wanted
where exists (select 1 from decided_id where decided_id.id = wanted.value)
   or exists (select 1 from inbox where inbox.id = wanted.value);

-- name: decided_ids
-- Which ids of a JSON array are decided.
select wanted.value from json_each(?) as wanted
where exists (select 1 from decided_id where decided_id.id = wanted.value);

-- name: add_block
-- Events that were decided; the number is that of the last of them.
insert into event_block (seq, body) values (?, ?);

-- name: add_block_subjects
-- Whose events a block holds, until the trail notes it.
insert into block_subjects (seq, subjects) values (?, ?);

-- name: add_decided
-- Ids of events that were decided, as a JSON array; each must be new.
insert into decided_id (id) select value from json_each(?);

-- name: rewrite_block
-- Events of a block were erased.
update event_block set body = ? where seq = ?;

-- name: rename_block
-- Whose events are left in a block the trail does not hold yet.
update block_subjects set subjects = ? where seq = ?;

-- name: forget_ids
-- Ids of a JSON array belong to events that were erased.
delete from decided_id where id in (select value from json_each(?));

-- name: forget_block
-- A block holds nothing about somebody any more.
delete from trail where subject = ? and log = 1 and seq = ?;

-- name: event_count
-- Number of the last event.
select coalesce(max(seq), 0) from event_block;

-- name: blocks_of
-- Blocks with events of a subject, given as it is and as a JSON text, in order; the newest may hold none of his.
select seq, body from (
    select event_block.seq, event_block.body from trail join event_block on event_block.seq = trail.seq
    where trail.subject = ?1 and trail.log = 1
    union all
    select event_block.seq, event_block.body from block_subjects join event_block using (seq)
    where instr(block_subjects.subjects, ?2)
) order by seq;

-- name: block_at
-- The first block of events from a number on.
select seq, body from event_block where seq >= ? order by seq limit 1;

-- name: names_laid
-- The last block of events whose subjects the trail holds.
select seq from trailed where log = 1;

-- name: unheard
-- Which subjects of a JSON list stand in no block before a number, and never did as far as is known.
select value from json_each(?1) where not exists (
    select 1 from trail where trail.subject = json_each.value
    and ((trail.log = 1 and trail.seq < ?2) or trail.log = 0)
);

-- name: add_effect
-- An effect; its key must be new.
insert into effect (seq, key, subject, time, channel, body, delivery, carries) values (?, ?, ?, ?, ?, ?, ?, ?);

-- name: all_effects
-- Every effect with its delivery.
select key, time, channel, body, delivery from effect order by time, key;

-- name: effects_of
-- Effects of a subject with their delivery.
select key, time, channel, body, delivery from (
    select effect.* from trail join effect on effect.seq = trail.seq where trail.subject = ?1 and trail.log = 2
    union all
    select * from effect where seq > (select seq from trailed where log = 2) and subject = ?1
) order by time, key;

-- name: outcomes_of
-- Why deliveries to a subject stand as they do.
select key, outcome from (
    select effect.* from trail join effect on effect.seq = trail.seq where trail.subject = ?1 and trail.log = 2
    union all
    select * from effect where seq > (select seq from trailed where log = 2) and subject = ?1
) where outcome is not null;

-- name: claimable
-- Deliveries to send over a channel, in order of decision. The index is named, so that no guess of the planner can make
-- a scan of all that was ever sent, or of all that waits for other channels.
select seq, attempts, tried_at, key, time, channel, body from effect indexed by effect_pending
where delivery = 'pending' and (next_at is null or next_at <= ?) and channel = ? order by seq limit ?;

-- name: claimable_numbers
-- The same, only where they stand: what the index tells without a look at the rows.
select seq from effect indexed by effect_pending
where delivery = 'pending' and (next_at is null or next_at <= ?) and channel = ? order by seq limit ?;

-- name: claimable_rows
-- The deliveries that stand at the places of a JSON array, in its order.
select effect.seq, attempts, tried_at, effect.key, time, channel, body from json_each(?) as wanted
cross join effect on effect.seq = wanted.value;

-- name: claim
-- A delivery is about to be sent.
update effect set delivery = 'sending', attempts = attempts + 1, tried_at = coalesce(tried_at, ?) where seq = ?;

-- name: settle
-- What became of a delivery; what was cancelled meanwhile stays so, unless it went out or may have.
update effect set delivery = ?1, next_at = ?2, outcome = ?3
where seq = (
    select seq from recent_key where key = ?4 union all select seq from effect_place where key = ?4 limit 1
) and delivery is not null and not (delivery = 'cancelled' and ?1 in ('pending', 'dead'));

-- name: pass_on
-- A channel refused a delivery for good: the next one has its tries.
update effect
set channel = ?1, delivery = 'pending', attempts = 0, tried_at = null, receipt = null, next_at = null, outcome = ?2
where seq = (
    select seq from recent_key where key = ?3 union all select seq from effect_place where key = ?3 limit 1
) and delivery is not null and delivery <> 'cancelled';

-- name: open_deliveries
-- Deliveries that are being sent, dead or unknown, in order of decision; the index holds no others.
select attempts, outcome, tried_at, key, time, channel, body from effect indexed by effect_open
where delivery in ('sending', 'dead', 'unknown') and delivery = ? order by seq;

-- name: deliveries
-- Deliveries in any status, in order of decision.
select attempts, outcome, tried_at, key, time, channel, body from effect
where delivery = ? order by seq;

-- name: save_answer
-- The answer to a reservation.
insert into answer (key, subject, body) values (?, ?, ?)
on conflict (key) do update set subject = excluded.subject, body = excluded.body;

-- name: answers_of
-- Answers to the reservations of a subject.
select key, body from answer where subject = ? order by key;

-- name: asker_of
-- Whose an answer is.
select subject from answer where key = ?;

-- name: save_resource
-- The state of a scarce resource.
insert into resource (name, body) values (?, ?) on conflict (name) do update set body = excluded.body;

-- name: all_resources
-- The state of every scarce resource.
select name, body from resource order by name;

-- name: save_slot
-- How far the slots of a trigger are walked.
insert into slot (name, body) values (?, ?) on conflict (name) do update set body = excluded.body;

-- name: drop_slot
-- A trigger left the program.
delete from slot where name = ?;

-- name: all_slots
-- How far the slots of every trigger are walked.
select name, body from slot order by name;

-- name: add_decision
-- A verdict worth keeping.
insert into decision (subject, body) values (?, ?);

-- name: decisions_of
-- Verdicts about a subject in order.
select body from (
    select decision.seq, decision.body from trail join decision on decision.seq = trail.seq
    where trail.subject = ?1 and trail.log = 3
    union all
    select seq, body from decision where seq > (select seq from trailed where log = 3) and subject = ?1
) order by seq;

-- name: add_entries
-- Entries of the ledger; the number is that of the last of them.
insert into entry_block (seq, body) values (?, ?);

-- name: add_entry_subjects
-- Whose entries a block of the ledger holds, until the trail notes it.
insert into entry_subjects (seq, subjects) values (?, ?);

-- name: entry_count
-- Number of the last entry of the ledger.
select coalesce(max(seq), 0) from entry_block;

-- name: all_entries
-- Every block of the ledger, in order.
select seq, body from entry_block order by seq;

-- name: entries_of
-- Blocks with entries of a subject, given as it is and as a JSON text, in order; the newest may hold none of his.
select seq, body from (
    select entry_block.seq, entry_block.body from trail join entry_block on entry_block.seq = trail.seq
    where trail.subject = ?1 and trail.log = 5
    union all
    select entry_block.seq, entry_block.body from entry_subjects join entry_block using (seq)
    where instr(entry_subjects.subjects, ?2)
) order by seq;

-- name: lay_trail
-- Note which rows written since the last time, up to a number of each log, belong to which subject.
insert into trail (subject, log, seq)
select distinct name.value, 1, block_subjects.seq from block_subjects, json_each(block_subjects.subjects) as name
where name.value is not null and block_subjects.seq <= ?1
union all
select subject, 2, seq from effect
where subject is not null and seq > (select seq from trailed where log = 2) and seq <= ?2
union all
select subject, 3, seq from decision
where subject is not null and seq > (select seq from trailed where log = 3) and seq <= ?3
union all
select distinct name.value, 5, entry_subjects.seq from entry_subjects, json_each(entry_subjects.subjects) as name
where name.value is not null and entry_subjects.seq <= ?4
order by 1, 2, 3;

-- name: trail_laid
-- The trail holds every row up to a number of each log.
update trailed set seq = case log when 1 then ?1 when 2 then ?2 when 3 then ?3 else ?4 end;

-- name: names_trailed
-- The trail holds the subjects of the blocks up to a number.
delete from block_subjects where seq <= ?;

-- name: trail_ends
-- Of each log the last row the trail may hold when it takes so many more.
select log, min(seq + ?, case log
    when 1 then (select coalesce(max(seq), 0) from event_block)
    when 2 then (select coalesce(max(seq), 0) from effect)
    when 3 then (select coalesce(max(seq), 0) from decision)
    else (select coalesce(max(seq), 0) from entry_block)
end) from trailed order by log;

-- name: entries_trailed
-- The trail holds the subjects of the blocks of the ledger up to a number.
delete from entry_subjects where seq <= ?;

-- name: untrailed
-- Number of rows the trail does not hold yet; so many (first value) events count as one, for they are found faster.
select ((select coalesce(max(seq), 0) from event_block) - (select seq from trailed where log = 1)) / ?1
    + ((select coalesce(max(seq), 0) from entry_block) - (select seq from trailed where log = 5)) / ?1
    + (select coalesce(max(seq), 0) from effect) - (select seq from trailed where log = 2)
    + (select coalesce(max(seq), 0) from decision) - (select seq from trailed where log = 3);

-- name: add_goal
-- A goal reached.
insert into goal (playbook, occurrence, user, held, time, worth) values (?, ?, ?, ?, ?, ?);

-- name: add_milestone
-- How far somebody came in a playbook.
insert into milestone (playbook, occurrence, user, what, name, time) values (?, ?, ?, ?, ?, ?);

-- name: add_rejected
-- A record that is no event.
insert into quarantine (feed, position, reason, message, raw, at) values (?, ?, ?, ?, ?, ?);

-- name: all_rejected
-- Records in quarantine, the oldest first.
select feed, position, reason, message, raw, at, seq from quarantine order by seq;

-- name: one_rejected
-- One record in quarantine.
select feed, position, reason, message, raw, at, seq from quarantine where seq = ?;

-- name: drop_rejected
-- A record leaves quarantine.
delete from quarantine where seq = ?;

-- name: add_inbox
-- An event taken in; its id must be new.
insert into inbox (id, body) values (?, ?);

-- name: read_inbox
-- Events taken in after a number.
select seq, body from inbox where seq > ? order by seq limit ?;

-- name: inbox_ends
-- The oldest and the newest number of the inbox.
select (select min(seq) from inbox), (select max(seq) from inbox);

-- name: clear_inbox
-- Forget events taken in up to a number: they are decided.
delete from inbox where seq <= ?;

-- name: save_position
-- How far a feed is decided.
insert into position (feed, position) values (?, ?) on conflict (feed) do update set position = excluded.position;

-- name: position
-- How far a feed is decided.
select position from position where feed = ?;

-- name: save_clock
-- The engine's clock.
insert into clock (one, at) values (1, ?) on conflict (one) do update set at = excluded.at;

-- name: clock
-- The engine's clock.
select at from clock;

-- name: save_version
-- A version of a playbook; what is known of one that is there stays, but for whether it is used.
insert into version (playbook, hash, since, sources, used) values (?, ?, ?, ?, ?)
on conflict (playbook, hash) do update set used = excluded.used;

-- name: versions
-- Versions kept; those in use, or (0) all.
select playbook, hash, since, sources, used from version where used >= ? order by playbook, since, hash;

-- name: save_meta
-- A named word of the runtime.
insert into meta (name, value) values (?, ?) on conflict (name) do update set value = excluded.value;

-- name: hold
-- Nothing is sent from here on, unless it was held before; see runtime/standing.py.
insert into meta (name, value) values ('outbox_held', ?)
on conflict (name) do update set value = excluded.value where value = '';

-- name: meta
-- A named word of the runtime.
select value from meta where name = ?;

-- name: add_counter
-- Add to a counter.
insert into counter (name, n) values (?, ?) on conflict (name) do update set n = n + excluded.n;

-- name: counters
-- Every counter.
select name, n from counter order by name;

-- name: add_figure
-- Add to a figure of a playbook.
insert into figure (playbook, name, n) values (?, ?, ?) on conflict (playbook, name) do update set n = n + excluded.n;

-- name: figures
-- Every figure of every playbook.
select playbook, name, n from figure;

-- name: add_migration
-- The record that a migration was applied.
insert into migration (version, name, sha256) values (?, ?, ?);

-- name: version
-- Number of the newest migration applied.
select max(version) from migration;

-- name: tables
-- Number of tables in the file.
select count(*) from sqlite_schema where type = 'table';

-- name: has_migrations
-- Whether the file records migrations at all.
select count(*) from sqlite_schema where type = 'table' and name = 'migration';

-- name: audience_table
-- A page of subjects of the table whom a question does not refuse. {verdict} is 1 (yes), -1 (no) or 0 (ask). Whoever has
-- to be asked comes with the state, whoever is certain without. The question stands twice, but most rows only meet it
-- once, and a page ends as soon as it is full.
select id, case ({verdict}) when 0 then state end
from (select id, state, cast(state as text) as doc from subject where id > ?1)
where ({verdict}) >= 0 order by id limit ?2;

-- name: audience_log
-- The same for states given as a JSON list of [subject, state], with the place in the list instead of the subject.
select place, case ({verdict}) when 0 then 1 end from (
    select key as place, value ->> '$[0]' as id, value -> '$[1]' as doc from json_each(?1)
) where ({verdict}) >= 0 order by place limit ?2;

-- name: subject_count
-- Number of subjects in the table, and of those of them up to an id, which are no users.
select (select count(*) from subject), (select count(*) from subject where id <= ?);

-- name: strangers
-- Which subjects of a JSON array do not stand in the table.
select wanted.value from json_each(?) as wanted
where not exists (select 1 from subject where subject.id = wanted.value);

-- name: known_subjects
-- Which subjects of a JSON array stand in the table.
select count(*) from json_each(?) as wanted cross join subject as s on s.id = wanted.value;

-- name: sweep_events
-- Every block of decided events.
select body from event_block order by seq;

-- name: sweep_effects
-- Every effect.
select key, time, channel, body, delivery from effect order by seq;

-- name: sweep_milestones
-- Who came how far, in order.
select playbook, occurrence, user, what, name, time from milestone order by seq;

-- name: sweep_goals
-- Every goal reached.
select playbook, occurrence, user, time, worth from goal order by seq;

-- name: sweep_entries
-- Every block of the ledger.
select body from entry_block order by seq;

-- name: sweep_decisions
-- Every verdict that was kept.
select body from decision;

-- name: sweep_forgotten
-- Subjects of whom events were forgotten.
select subject from trail where log = 0;

-- name: forgotten_until
-- Up to when a log was forgotten.
select at from forgotten where log = ?;
