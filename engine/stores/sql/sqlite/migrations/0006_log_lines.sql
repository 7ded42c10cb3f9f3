-- The log of states has a line a state now; what stands in it goes to its place, the newest last.
insert into subject (id, state, wake_at)
select entry.value ->> 0, cast(entry.value -> 2 as blob), entry.value ->> 1
from state_log, json_each(cast(state_log.body as text)) as entry
where true order by state_log.seq, entry.key
on conflict (id) do update set state = excluded.state, wake_at = excluded.wake_at;

delete from state_log;
