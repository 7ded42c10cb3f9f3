-- Events decided, in blocks and in order of decision: a row for each of them costs several times as much to write.
-- seq: running number of the last event of the block; numbers are never used twice.
-- body: JSON list of [id, time, decided_at, type, user, group, data, ...].
create table event_block (
    seq integer primary key,
    body blob not null
) strict;

-- Their ids: the memory of duplicates.
create table decided_id (
    id text primary key
) strict, without rowid;

-- Subjects of the blocks that the trail does not hold yet, as a JSON list.
create table block_subjects (
    seq integer primary key,
    subjects text not null
) strict;

insert into event_block (seq, body)
select last, cast('[' || (
    select group_concat(line, ',') from (
        select '[' || json_quote(id) || ',' || time || ',' || decided_at || ',' || substr(cast(body as text), 2) as line
        from event where seq between place * 100 + 1 and place * 100 + 100 order by seq
    )
) || ']' as blob)
from (select (seq - 1) / 100 as place, max(seq) as last from event group by 1);

insert into decided_id (id) select id from event order by id;

-- In the trail an event is found by its block.
delete from trail where log = 1;

insert or ignore into trail (subject, log, seq)
select subject, 1, (select min(event_block.seq) from event_block where event_block.seq >= event.seq)
from event where subject is not null order by 1, 3;

update trailed set seq = (select coalesce(max(seq), 0) from event_block) where log = 1;

drop table event;
