-- What was forgotten because it was old (retention).
-- log: events, ids or decisions. seq: rows up to here are gone. at: what is gone happened up to here. n: how many.
create table forgotten (
    log text primary key,
    seq integer not null,
    at integer not null,
    n integer not null
) strict, without rowid;

-- Ids of blocks that were forgotten, for they are remembered longer than their events.
-- until: nothing in it is newer. body: JSON list of [id, subject, time].
-- In the trail such a block is log 4; log 0 (seq 0) marks subjects of whom events were forgotten.
create table id_block (
    seq integer primary key,
    until integer not null,
    body blob not null
) strict;
