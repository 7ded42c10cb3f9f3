-- Which effect has which key: the newest in a table of the connection, the others where they are looked up.

-- name: hold_keys
-- The keys that have no place yet, of the connection that writes.
create temp table recent_key (key text primary key, seq integer not null) strict, without rowid;

-- name: drop_keys
-- What the connection held goes.
drop table if exists temp.recent_key;

-- name: look_at_keys
-- The same for a connection that reads: few ask, and looking through so many takes some hundredths of a second.
create temp view recent_key as
select key, seq from main.effect where seq > (select seq from main.effect_placed);

-- name: hold_new_keys
-- The keys of the effects after a number.
insert into temp.recent_key (key, seq) select key, seq from effect where seq > ?;

-- name: placed
-- Up to which effect all keys have their place.
select seq from effect_placed;

-- name: last_effect
-- Number of the last effect.
select coalesce(max(seq), 0) from effect;

-- name: known_keys
-- Which keys of a JSON array there are.
select wanted.value from json_each(?) as wanted
where exists (select 1 from effect_place where effect_place.key = wanted.value)
   or exists (select 1 from recent_key where recent_key.key = wanted.value);

-- name: next_keys
-- Of so many keys without a place, from one on, the last; and how many they are.
select max(key), count(*) from (select key from recent_key where key >= ? order by key limit ?);

-- name: place_keys
-- Keys from one to another get their places; those of a round that was not finished have them.
insert into effect_place (key, seq) select key, seq from recent_key where key between ? and ? order by key
on conflict (key) do nothing;

-- name: let_keys_go
-- They need not be held any more.
delete from temp.recent_key where key between ? and ?;

-- name: save_placed
-- The keys of all effects up to a number have their places.
update effect_placed set seq = ?;
