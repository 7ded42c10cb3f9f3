-- Which effect has which key. Keys are hashes: an index kept at every commit would touch a page for nearly every row, so
-- the newest keys are held in memory and brought here many at a time.
drop index effect_key;

create table effect_place (
    key text primary key,
    seq integer not null
) strict, without rowid;

-- seq: the keys of all effects up to here are in effect_place; one row.
create table effect_placed (
    one integer primary key check (one = 1),
    seq integer not null
) strict;

insert into effect_place (key, seq) select key, seq from effect order by key;

insert into effect_placed (one, seq) select 1, coalesce(max(seq), 0) from effect;
