-- name: capped
-- Messages and posts of a period that found their cap or quota used up, or had waited until they were of no use, by
-- subject and time. A post of a playbook of groups is its group's.
select coalesce(user, chr(1) || 'group:' || grp) as subject, instant, playbook, coalesce(purpose, 'community'),
    coalesce(channel, ''), reason
from effect
where kind in ('message', 'post') and status = 'suppressed' and reason in ('cap', 'quota', 'expired')
    and coalesce(user, grp) is not null and playbook is not null and day between ? and ? order by 1, 2;

-- name: capped_slots
-- Messages and posts that took a place before one of those, not longer before than the widest window: subject, time,
-- playbook, purpose, channel.
with lost as (
    select coalesce(user, chr(1) || 'group:' || grp) as subject, min(instant) as low, max(instant) as high from effect
    where kind in ('message', 'post') and status = 'suppressed' and reason in ('cap', 'quota', 'expired')
        and coalesce(user, grp) is not null and day between ?1 and ?2 group by 1
)
select l.subject, f.instant, f.playbook, coalesce(f.purpose, 'community'), f.channel
from effect as f join lost as l on l.subject = coalesce(f.user, chr(1) || 'group:' || f.grp)
where f.kind in ('message', 'post') and f.status = 'planned' and f.instant between low - ?3 and high
    and (f.kind = 'message' or f.user is null)
order by 1, 2;

-- name: had_before
-- What a user may have but once, and had: a coupon, reward, seat or badge refused in a period, and who had given it; a
-- survey, and who had asked last.
with lost as (
    select playbook, user, instant, reason, case kind when 'invite' then 'seat' when 'redeem' then 'reward'
        when 'message' then 'survey' else kind end as book, case kind when 'message' then 'survey' else place end as place
    from effect
    where user is not null and playbook is not null and status in ('denied', 'suppressed') and (kind, reason) in (
        ('coupon', 'per_user'), ('redeem', 'per_user'), ('invite', 'already'), ('badge', 'already'),
        ('message', 'fatigue')
    ) and day between ? and ?
), had as (
    select book, name as place, user, instant, playbook from ledger
    where (book, what) in (('coupon', 'issued'), ('reward', 'held'), ('seat', 'held')) and playbook is not null
    union all
    select case kind when 'message' then 'survey' else kind end, place, user, instant, playbook from effect
    where status = 'planned' and playbook is not null and (kind = 'badge' or (kind = 'message' and place = 'survey'))
)
select f.playbook, h.playbook, f.reason, count(*) from lost as f asof join had as h
    on h.book = f.book and h.place = f.place and h.user = f.user and h.instant <= f.instant
group by 1, 2, 3;

-- name: taken
-- Coupons, rewards and seats refused in a period because none was left: which playbooks had taken them. Of a pool that is
-- empty or has spent its budget, and of a reward, all that ever gave, of a pool with so many a day those of that day, of
-- a group those whose newest invite still held its seat, or might have become a membership.
with lost as (
    select case kind when 'coupon' then 'coupon' when 'redeem' then 'reward' else 'seat' end as book, place, playbook,
        reason, instant, day
    from effect
    where status = 'denied' and playbook is not null and (kind, reason) in (
        ('coupon', 'sold_out'), ('coupon', 'budget'), ('coupon', 'per_day'), ('redeem', 'sold_out'),
        ('invite', 'full'), ('invite', 'waitlist')
    ) and day between ? and ?
), gave as (
    select book, name, playbook, instant, day, until from ledger
    where (book, what) in (('coupon', 'issued'), ('reward', 'held'), ('seat', 'held')) and playbook is not null
), rival as (
    select l.*, g.playbook as taker from lost as l
    join (select distinct book, name, playbook from gave) as g on g.book = l.book and g.name = l.place
)
select r.playbook, r.taker, r.reason, count(*) from rival as r asof join gave as g
    on g.book = r.book and g.name = r.place and g.playbook = r.taker and g.instant <= r.instant
where case r.reason
    when 'per_day' then g.day = r.day when 'full' then g.until > r.instant when 'waitlist' then g.until > r.instant
    else true end
group by 1, 2, 3;

-- name: over_limit
-- Who came in a period when the entry limit was reached, and had to wait or did not enter at all.
select playbook, waits, count(*) from over where day between ? and ? group by 1, 2;

-- name: ended_by
-- Journeys that an `exit` ended in a period, and the steps of other playbooks that did something to the subject at that
-- very instant: playbook, subject, place of the exit, instant, what moved and which segment, the other playbook, its
-- step, and the type of the event it emitted.
with ended as (
    select playbook, user, name, instant from milestone
    where what = 'exited' and name like 'exit[%' and day between ? and ?
), step as (
    select key, instant, playbook, step, case when kind = 'emit' then place end as emitted,
        coalesce(case when kind = 'emit' then above end, user, chr(1) || 'group:' || grp) as subject
    from effect where status = 'planned' and playbook is not null
)
select d.playbook, d.user, d.name, d.instant, s.what, s.name, f.playbook, f.step, null
from ended as d
join milestone as s on s.user = d.user and s.instant = d.instant and s.what in ('segment.entered', 'segment.left')
join effect as f on f.key = s.occurrence
where f.playbook is not null and f.playbook <> d.playbook
union
select d.playbook, d.user, d.name, d.instant, null, null, f.playbook, f.step, f.emitted
from ended as d join step as f on f.subject = d.user and f.instant = d.instant
where f.playbook <> d.playbook
order by 1, 2, 4;
