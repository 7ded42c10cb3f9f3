-- name: sides
-- Entries of a period, by playbook and by whether they were held back: how many, of how many users, how many reached
-- their goal, and the sum, the sum of squares and the number of what those goals were worth.
select e.playbook, case when e.held is null then 'treated' when e.held = 'shadow' then 'shadow' else 'holdout' end,
    count(*), count(distinct e.user), count(r.instant), sum(r.worth), sum(r.worth * r.worth), count(r.worth)
from entry as e left join reached as r
    on r.playbook = e.playbook and r.occurrence = e.occurrence and r.user = e.user and r.entered = e.instant
where e.day between ? and ? group by 1, 2 order by 1, 2;

-- name: entries_in
-- Entries of a period that were no shadow, and its messages that were decided.
select (select count(*) from entry where coalesce(held, '') <> 'shadow' and day between ?1 and ?2),
    (select count(*) from effect
     where delivery is not null and channel is not null and day between ?1 and ?2);

-- name: arms
-- Who was drawn for which arm in a period, and reached the goal of that entry afterwards; with sums as above. Whoever was
-- held back for another reason than the arm is in none.
with drawn as (
    select m.playbook, m.name, m.occurrence, m.user, m.instant, e.instant as entered
    from milestone as m asof join entry as e
        on e.playbook = m.playbook and e.occurrence = m.occurrence and e.user = m.user and e.instant <= m.instant
    where m.what = 'arm' and m.day between ? and ? and coalesce(e.held, 'arm') = 'arm'
)
select d.playbook, d.name, count(*), count(r.instant), sum(r.worth), sum(r.worth * r.worth), count(r.worth)
from drawn as d left join reached as r
    on r.playbook = d.playbook and r.occurrence = d.occurrence and r.user = d.user and r.entered = d.entered
    and r.instant >= d.instant
group by 1, 2 order by 1, 2;

-- name: exits
-- Why journeys were sent out in a period.
select playbook, name, count(*) from milestone where what = 'exited' and day between ? and ? group by 1, 2 order by 1, 3 desc;

-- name: steps
-- Steps of treated entries of a period: how many entries got something there, and how many were refused. What is done
-- for a group or for the program has no user; its entry is that of the subject.
with done as (
    select *, coalesce(user, chr(1) || coalesce('group:' || grp, 'program')) as subject from effect
    where step is not null
), own as (
    select f.playbook, f.step, f.kind, f.status, e.user, e.occurrence, e.instant, e.day, e.held
    from done as f asof join entry as e on e.playbook = f.playbook and e.user = f.subject and e.instant <= f.instant
)
select playbook, step, min(kind), count(distinct (user, occurrence, instant)) filter (where status = 'planned'),
    count(distinct (user, occurrence, instant)) filter (where status in ('suppressed', 'denied'))
from own where held is null and day between ? and ? group by 1, 2;

-- name: entries_by_day
-- Entries of each day of a period.
select day, count(*) from entry where day between ? and ? group by 1 order by 1;
