-- name: all_erased
-- Everybody who was erased.
select alias, at from erased;

-- name: save_erased
-- Somebody was erased.
insert into erased (alias, at) values (?, ?) on conflict (alias) do update set at = max(at, excluded.at);

-- name: erase_subject
-- The state of somebody who was erased.
delete from subject where id = ?;

-- name: erase_decisions
-- Verdicts about somebody up to an instant; the first part of a body is its time.
update decision set subject = null, body = x'' where seq in (
    select seq from trail where subject = ?1 and log = 3
    union all
    select seq from decision where seq > (select seq from trailed where log = 3) and subject = ?1
) and cast(body as text) ->> '$[0]' <= ?2;

-- name: effects_to_scrub
-- Effects on somebody up to an instant.
select seq, key, time, channel, body from effect where seq in (
    select seq from trail where subject = ?1 and log = 2
    union all
    select seq from effect where seq > (select seq from trailed where log = 2) and subject = ?1
) and time <= ?2 order by seq;

-- name: scrub_effect
-- An effect as a ledger keeps it of somebody who was erased; what was not sent is not sent any more.
update effect set subject = ?, body = ?, carries = null, next_at = null, receipt = null,
    outcome = case when delivery in ('pending', 'sending', 'dead', 'unknown') then 'erased'
        when delivery = 'cancelled' then outcome end,
    delivery = case when delivery in ('pending', 'sending', 'dead', 'unknown') then 'cancelled' else delivery end
where seq = ?;

-- name: move_trail
-- Effects that are kept under a pseudonym.
insert into trail (subject, log, seq)
select ?2, 2, trail.seq from trail join effect on effect.seq = trail.seq
where trail.subject = ?1 and trail.log = 2 and effect.subject = ?2
on conflict do nothing;

-- name: drop_trail
-- Rows that are no longer about somebody.
delete from trail where subject = ?1 and log not in (1, 5) and not exists (
    select 1 from effect where trail.log = 2 and effect.seq = trail.seq and effect.subject = ?1
    union all
    select 1 from decision where trail.log = 3 and decision.seq = trail.seq and decision.subject = ?1
);

-- name: alias_answers
-- Answers to reservations stay, under the pseudonym.
update answer set subject = ? where subject = ?;

-- name: alias_goals
-- Goals stay, under the pseudonym; the event that began the entry is forgotten.
update goal set user = ?, occurrence = '' where user = ? and time <= ?;

-- name: alias_milestones
-- So do the entries of playbooks, by which goals are counted.
update milestone set user = ?, occurrence = '' where user = ? and time <= ?;

-- name: naming
-- Records in quarantine whose bytes hold a text.
select feed, position, reason, message, raw, at, seq from quarantine where instr(raw, ?) > 0 order by seq;

-- name: rewrite_entries
-- A block of the ledger with a pseudonym.
update entry_block set body = ? where seq = ?;

-- name: rename_entries
-- Whose entries are in a block the trail does not hold yet.
update entry_subjects set subjects = ? where seq = ?;

-- name: move_entries
-- Where the trail holds a block for somebody, it holds it for the pseudonym too.
insert into trail (subject, log, seq) select ?3, log, seq from trail where subject = ?1 and log = 5 and seq = ?2
on conflict do nothing;

-- name: forget_entries
-- A block of the ledger holds nothing about somebody any more.
delete from trail where subject = ? and log = 5 and seq = ?;

-- name: effects_naming
-- Effects on groups and the program, up to an instant, whose bytes hold a text.
select seq, key, time, channel, body from effect where seq in (
    select seq from trail where subject >= char(1) and subject < char(2) and log = 2
    union all
    select seq from effect where seq > (select seq from trailed where log = 2)
        and subject >= char(1) and subject < char(2)
) and time <= ?2 and instr(body, ?1) > 0 order by seq;

-- name: rename_in_effect
-- An effect that named somebody who was erased.
update effect set body = ? where seq = ?;

-- name: answers_naming
-- Answers to groups and the program whose bytes hold a text.
select key, body from answer where subject >= char(1) and subject < char(2) and instr(body, ?) > 0 order by key;

-- name: rename_in_answer
-- An answer that named somebody who was erased.
update answer set body = ? where key = ?;
