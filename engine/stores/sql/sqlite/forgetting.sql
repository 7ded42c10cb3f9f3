-- What retention takes away. The newest row of a log always stays: its number must not be used again.

-- name: oldest_blocks
-- Blocks of events, the oldest first.
select seq, body from event_block where seq < (select max(seq) from event_block) order by seq limit ?;

-- name: blocks_after
-- Blocks of events after a number.
select seq, body from event_block where seq > ? order by seq limit ?;

-- name: drop_block
-- A block is forgotten.
delete from event_block where seq = ?;

-- name: drop_block_subjects
-- The trail will not lead to a block that is forgotten before it got there.
delete from block_subjects where seq = ?;

-- name: untrail
-- A row of a log is not there any more.
delete from trail where subject = ? and log = ? and seq = ?;

-- name: mark_trail
-- A subject of whom events were forgotten (log 0), or whose ids stand in a block of ids (log 4).
insert into trail (subject, log, seq) values (?, ?, ?) on conflict do nothing;

-- name: add_id_block
-- Ids that are remembered longer than their events.
insert into id_block (seq, until, body) values (?, ?, ?);

-- name: oldest_id_blocks
-- Blocks of ids, the oldest first.
select seq, until, body from id_block order by seq limit ?;

-- name: id_blocks_of
-- Blocks of ids with some of a subject.
select id_block.seq, id_block.body from trail join id_block on id_block.seq = trail.seq
where trail.subject = ? and trail.log = 4 order by id_block.seq;

-- name: rewrite_id_block
-- Ids of a block were erased.
update id_block set body = ? where seq = ?;

-- name: drop_id_block
-- A block of ids is forgotten.
delete from id_block where seq = ?;

-- name: oldest_decisions
-- Verdicts, the oldest first; the first part of a body is the time, and one that was erased has none.
select seq, subject, case when length(body) > 0 then cast(body as text) ->> '$[0]' end from decision
where seq < (select max(seq) from decision) order by seq limit ?;

-- name: drop_decisions
-- Verdicts up to a number are forgotten.
delete from decision where seq <= ?;

-- name: oldest_rejected
-- Records in quarantine, the oldest first.
select seq, at from quarantine order by seq limit ?;

-- name: save_forgotten
-- How far a log is forgotten.
insert into forgotten (log, seq, at, n) values (?, ?, ?, ?)
on conflict (log) do update set seq = excluded.seq, at = max(at, excluded.at), n = n + excluded.n;

-- name: forgotten_upto
-- How far a log is forgotten.
select seq from forgotten where log = ?;

-- name: forgotten_of
-- Until when events of a subject may be missing.
select at from forgotten where log = 'events' and exists (
    select 1 from trail where trail.subject = ? and trail.log = 0 and trail.seq = 0
);
