-- name: deliveries
-- Messages of a period by channel and where their delivery stands.
select channel, delivery, count(*) from effect
where delivery is not null and channel is not null and day between ? and ? group by 1, 2 order by 1, 2;

-- name: receipts
-- Of the messages of a period: how many were reported so, by channel.
select f.channel, e.type, count(distinct f.key) from event as e join effect as f on f.key = e.effect
where f.day between ? and ? and e.type like 'message.%' group by 1, 2 order by 1, 2;

-- name: refusals
-- What was not done in a period, and why.
select kind, status, coalesce(reason, 'unknown'), coalesce(playbook, ''), count(*) from effect
where status in ('suppressed', 'denied') and day between ? and ? group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4;

-- name: capped
-- Messages of a period that found their cap or quota used up, by user and time.
select user, instant, playbook, purpose, channel, reason from effect
where kind = 'message' and status = 'suppressed' and reason in ('cap', 'quota') and user is not null
    and day between ? and ? order by user, instant;

-- name: capped_slots
-- Messages that took a place before one of those, not longer before than the widest window: user, time, playbook, purpose, channel.
with lost as (
    select user, min(instant) as low, max(instant) as high from effect
    where kind = 'message' and status = 'suppressed' and reason in ('cap', 'quota') and user is not null
        and day between ?1 and ?2 group by 1
)
select f.user, f.instant, f.playbook, f.purpose, f.channel from effect as f join lost using (user)
where f.kind = 'message' and f.status = 'planned' and f.instant between low - ?3 and high order by f.user, f.instant;

-- name: used_up
-- Coupons refused in a period because the user had had one of the pool: who had given it.
select f.playbook, l.playbook, count(*) from effect as f asof join (
    select user, name, instant, playbook from ledger where book = 'coupon' and what = 'issued' and playbook is not null
) as l on l.user = f.user and l.name = f.place and l.instant <= f.instant
where f.kind = 'coupon' and f.status = 'denied' and f.reason = 'per_user' and f.day between ? and ?
group by 1, 2 order by 3 desc;

-- name: taken
-- Coupons and seats refused in a period because none was left: which playbooks had taken them. Of a pool that is
-- empty or has spent its budget all that ever gave, of one with so many a day those of that day, of a group those
-- whose newest invite still held its seat, or might have become a membership.
with lost as (
    select case kind when 'coupon' then 'coupon' else 'seat' end as book, place, playbook, reason, instant, day from effect
    where status = 'denied' and (kind, reason) in (
        ('coupon', 'sold_out'), ('coupon', 'budget'), ('coupon', 'per_day'), ('invite', 'full'), ('invite', 'waitlist')
    ) and day between ? and ?
), gave as (
    select book, name, playbook, instant, day, until from ledger
    where (book, what) in (('coupon', 'issued'), ('seat', 'held')) and playbook is not null
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

-- name: coupons
-- Coupons issued in a period, by pool: how many, what they may cost, and what became of them and cost up to an instant.
with unit as (
    select name, unit, arg_max(what, instant) as now, max(amount) as amount, max(until) as until,
        max(day) filter (where what = 'issued') as day
    from ledger where book = 'coupon' and unit is not null group by 1, 2
)
select name, count(*), coalesce(sum(amount), 0), count(*) filter (where now = 'redeemed'),
    coalesce(sum(amount) filter (where now = 'redeemed'), 0),
    count(*) filter (where now = 'expired' or (now in ('issued', 'reversed') and until > 0 and until < ?3)),
    count(*) filter (where now = 'returned')
from unit where day between ?1 and ?2 group by 1 order by 2 desc, 1;

-- name: coupon_givers
-- Which playbook gave how many coupons of which pool in a period, how many of those came back unused or were redeemed,
-- and what the redeemed ones cost.
with unit as (
    select name, unit, arg_max(what, instant) as now, max(amount) as amount,
        max(playbook) filter (where what = 'issued') as playbook, max(day) filter (where what = 'issued') as day
    from ledger where book = 'coupon' and unit is not null group by 1, 2
)
select name, coalesce(playbook, ''), count(*), count(*) filter (where now = 'returned'),
    count(*) filter (where now = 'redeemed'), coalesce(sum(amount) filter (where now = 'redeemed'), 0)
from unit where day between ? and ? group by 1, 2 order by 1, 3 desc, 2;

-- name: points
-- Points booked in a period, by account and what it was.
select name, what, count(*), sum(delta) from ledger where book in ('points', 'entitlement') and day between ? and ?
group by 1, 2 order by 1, 2;
