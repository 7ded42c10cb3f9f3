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

-- name: coupons
-- Coupons issued in a period, by pool: how many, what they may cost, and what became of them up to an instant.
with unit as (
    select name, unit, arg_max(what, (instant, rowid)) as now, max(amount) as amount, max(until) as until,
        max(day) filter (where what = 'issued') as day
    from ledger where book = 'coupon' and unit is not null group by 1, 2
)
select name, count(*), coalesce(sum(amount), 0), count(*) filter (where now = 'redeemed'),
    count(*) filter (where now = 'expired' or (now in ('issued', 'reversed') and until > 0 and until < ?3)),
    count(*) filter (where now = 'returned')
from unit where day between ?1 and ?2 group by 1 order by 2 desc, 1;

-- name: coupon_costs
-- What the redeemed coupons issued in a period took off, by pool and playbook: the sum where the newest redemption said it
-- or the pool has a fixed amount, and of the others the orders they were used on, how many, and how many tell nothing.
with unit as (
    select name, unit, arg_max(what, (instant, rowid)) as now, max(amount) as amount,
        arg_max(key, (instant, rowid)) filter (where what = 'redeemed') as key,
        max(playbook) filter (where what = 'issued') as playbook, max(day) filter (where what = 'issued') as day
    from ledger where book = 'coupon' and unit is not null group by 1, 2
), used as (
    select u.name, coalesce(u.playbook, '') as playbook, coalesce(r.off, nullif(u.amount, 0)) as known, r.paid
    from unit as u left join redemption as r on r.key = u.key
    where u.now = 'redeemed' and u.day between ? and ?
)
select name, playbook, coalesce(sum(known), 0), coalesce(sum(paid) filter (where known is null), 0),
    count(*) filter (where known is null and paid is not null), count(*) filter (where known is null and paid is null)
from used group by 1, 2;

-- name: coupon_givers
-- Which playbook gave how many coupons of which pool in a period, and how many of those came back unused or were redeemed.
with unit as (
    select name, unit, arg_max(what, (instant, rowid)) as now, max(playbook) filter (where what = 'issued') as playbook, max(day) filter (where what = 'issued') as day
    from ledger where book = 'coupon' and unit is not null group by 1, 2
)
select name, coalesce(playbook, ''), count(*), count(*) filter (where now = 'returned'),
    count(*) filter (where now = 'redeemed')
from unit where day between ? and ? group by 1, 2 order by 1, 3 desc, 2;

-- name: points
-- Points booked in a period, by account and what it was.
select name, what, count(*), sum(delta) from ledger where book in ('points', 'entitlement') and day between ? and ?
group by 1, 2 order by 1, 2;
