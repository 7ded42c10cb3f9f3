-- What is emptied or renamed when somebody is erased.

-- name: all_erased
-- Everybody who was erased.
select alias, at from erased;

-- name: save_erased
-- Somebody was erased.
insert into erased (alias, at) values ($1, $2)
on conflict (alias) do update set at = greatest(erased.at, excluded.at);

-- name: erase_subject
-- The state of somebody who was erased.
delete from subject where id = $1;

-- name: erase_ids
-- Ids of the events of somebody up to an instant are forgotten.
delete from decided_id where id in (select id from event where subject = $1 and time <= $2) and subject = $1 and time <= $2;

-- name: erase_old_ids
-- And those of events that are forgotten themselves, where there are any.
delete from decided_id where subject = $1 and time <= $2
    and exists (select 1 from forgotten_of where forgotten_of.subject = $1);

-- name: erase_heard
-- Nobody heard them.
delete from heard where seq in (select seq from event where subject = $1 and time <= $2);

-- name: erase_events
-- Nothing of them is left but their places.
update event set subject = null, id = '', time = 0, history = true, body = '[null]', part = 0
where subject = $1 and time <= $2;

-- name: erase_marks
-- Who was erased lacks nothing that was forgotten before.
delete from forgotten_of where subject = $1;

-- name: erase_decisions
-- Verdicts about somebody up to an instant.
delete from decision where subject = $1 and time <= $2;

-- name: effects_to_scrub
-- Effects on somebody up to an instant.
select seq, key, time, channel, body from effect where subject = $1 and time <= $2 order by seq;

-- name: scrub_effect
-- An effect as a ledger keeps it of somebody who was erased; what was not sent is not sent any more.
update effect set subject = $1, body = $2, carries = null, next_at = null, receipt = null,
    outcome = case when delivery in ('pending', 'sending', 'dead', 'unknown') then 'erased'
        when delivery = 'cancelled' then outcome end,
    delivery = case when delivery in ('pending', 'sending', 'dead', 'unknown') then 'cancelled' else delivery end
where seq = $3;

-- name: alias_answers
-- Answers to reservations stay, under the pseudonym.
update answer set subject = $1 where subject = $2;

-- name: alias_goals
-- Goals stay, under the pseudonym; the event that began the entry is forgotten.
update goal set "user" = $1, occurrence = '' where "user" = $2 and time <= $3;

-- name: alias_milestones
-- So do the entries of playbooks, by which goals are counted.
update milestone set "user" = $1, occurrence = '' where "user" = $2 and time <= $3;

-- name: naming
-- Records in quarantine whose bytes hold a text.
select feed, position, reason, message, raw, at, seq from quarantine where position($1::bytea in raw) > 0 order by seq;

-- name: effects_naming
-- Effects on groups and the program, up to an instant, whose bytes hold a text.
select seq, key, time, channel, body from effect
where subject >= chr(1) and subject < chr(2) and time <= $2 and position($1::bytea in body) > 0 order by seq;

-- name: rename_in_effect
-- An effect that named somebody who was erased.
update effect set body = $1 where seq = $2;

-- name: answers_naming
-- Answers to groups and the program whose bytes hold a text.
select key, body from answer where subject >= chr(1) and subject < chr(2) and position($1::bytea in body) > 0 order by key;

-- name: rename_in_answer
-- An answer that named somebody who was erased.
update answer set body = $1 where key = $2;

-- name: scrub_tables
-- What holds, or held, something about people is written anew.
vacuum (full) subject, inbox, event, heard, decided_id, effect, answer, decision, entry, goal, milestone, quarantine,
    coupon_grant, forgotten_of, meta;

-- name: scrub_count
-- And looked through once more, which counts what had to stay because somebody looks at what was there before.
vacuum subject, inbox, event, heard, decided_id, effect, answer, decision, entry, goal, milestone, quarantine,
    coupon_grant, forgotten_of, meta;

-- name: dead_rows
-- How many rows nobody should see any more are still there.
select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables
where schemaname = current_schema() and (relname ~ '^event_[0-9]+$' or relname in (
    'subject', 'inbox', 'heard', 'decided_id', 'effect', 'answer', 'decision', 'entry', 'goal', 'milestone',
    'quarantine', 'coupon_grant', 'forgotten_of', 'meta'
));
