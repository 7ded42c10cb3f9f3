-- name: span
-- First and last day with an event, how many events, and how many users were ever active.
select min(day), max(day), count(*), count(distinct user) filter (where active) from event;

-- name: daily
-- Users active on each day of a period, and those of them whose first day it was.
select a.day, count(*), count(f.user) from active as a left join first as f on f.user = a.user and f.day = a.day
where a.day between ? and ? group by 1 order by 1;

-- name: rolling
-- For each day on which it changes, up to the last of a period: how many users were active within so many days before.
-- Every activity counts for its days, or until the next one.
with reach as (
    select day, least(day + ?1, coalesce(lead(day) over (partition by user order by day), day + ?1)) as until from active
    where day <= ?2
), step as (
    select day, count(*) as n from reach group by 1 union all select until, -count(*) from reach group by 1
)
select day, sum(sum(n)) over (order by day) from step group by day order by day;

-- name: hours
-- Activity by weekday (0 is Monday) and hour; the third figure is how much of it bears the time 00:00:00.
select (day + 3) % 7, hour, count(*), count(*) filter (where instant % 86400000000 = 0) from event
where active and day between ? and ? group by 1, 2;

-- name: active_in
-- Users active in a period.
select count(distinct user) from active where day between ? and ?;

-- name: new_in
-- Users whose first day is in a period.
select count(*) from first where day between ? and ?;

-- name: cohorts
-- By the first day's bucket: users, and for each distance those who can be judged and those who came back on that very day.
-- Parameters: first and last day of a period, the last day that is over.
select {bucket} as bucket, count(*), {columns} from first as f {joins}
where f.day between ?1 and ?2 group by 1 order by 1;

-- name: group_life
-- Groups: users active in them, their events, and who joined and left, in a period.
select grp, count(distinct user) filter (where active), count(*) filter (where active),
    count(*) filter (where type = 'group.joined'), count(*) filter (where type = 'group.left')
from event where grp is not null and day between ? and ? group by 1 order by 2 desc, 1;

-- name: moves
-- Moves in and out of segments in a period.
select name, count(*) filter (where what = 'segment.entered'), count(*) filter (where what = 'segment.left')
from milestone where what in ('segment.entered', 'segment.left') and day between ? and ? group by 1 order by 1;

-- name: climbs
-- Moves on ladders in a period.
select place, below, above, count(*) from effect
where kind = 'tier' and status = 'planned' and day between ? and ? group by 1, 2, 3 order by 1, 4 desc, 2, 3;
