-- Coupons: codes that were imported, and where each stands that was given.

-- name: add_grant
-- A coupon code given away; one that is out is left as it is, and missing in the count of rows.
insert into coupon_grant (code, pool, key, at, until, amount, playbook, step, status, moved, by)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (code) do update set pool = excluded.pool, key = excluded.key, at = excluded.at, until = excluded.until,
    amount = excluded.amount, playbook = excluded.playbook, step = excluded.step, status = excluded.status,
    moved = excluded.moved, by = excluded.by
where coupon_grant.status = 'returned';

-- name: move_grant
-- What became of a coupon.
update coupon_grant set status = ?, moved = ?, by = ? where code = ?;

-- name: coupon
-- A coupon that was given.
select code, pool, key, (select subject from effect where seq = (
    select seq from recent_key where key = coupon_grant.key union all select seq from effect_place where key = coupon_grant.key limit 1
)),
    at, until, amount, playbook, step, status, moved, by
from coupon_grant where code = ?;

-- name: coupons
-- Coupons that were given, of one pool or (null) of all.
select code, pool, key, (select subject from effect where seq = (
    select seq from recent_key where key = coupon_grant.key union all select seq from effect_place where key = coupon_grant.key limit 1
)),
    at, until, amount, playbook, step, status, moved, by
from coupon_grant where ?1 is null or pool = ?1 order by pool, at, code;

-- name: coupon_sums
-- How many coupons stand how: by pool, playbook, cost and status; one that lapsed by an instant counts as expired.
select pool, playbook, amount,
    case when status in ('issued', 'reversed') and until < ?1 then 'expired' else status end as stands, count(*)
from coupon_grant group by 1, 2, 3, 4 order by 1, 2, 3, 4;

-- name: coupon_days
-- Coupons of each pool given since an instant, by its distance in days (1: the last 24 hours before another instant).
select pool, (?2 - at) / 86400000000 + 1, count(*) from coupon_grant
where at > ?1 and at <= ?2 and status <> 'returned' group by 1, 2;

-- name: first_grant
-- When each pool gave its first coupon.
select pool, min(at) from coupon_grant group by 1;

-- name: carriers
-- What told a subject of a code, with its delivery; the index holds only effects that tell of any.
select key, delivery from effect indexed by effect_carries
where subject = ?1 and carries is not null
    and exists (select 1 from json_each(carries) as carried where carried.value = ?2);

-- name: cancellable
-- Deliveries of a JSON array of [key, reason] that have not begun (or are dead, where the reason takes those too).
select effect.seq, wanted.value ->> 1,
    case when carries is not null then effect.key end, time, channel, body
from json_each(?) as wanted cross join effect on effect.seq = (
    select seq from recent_key where key = wanted.value ->> 0
    union all select seq from effect_place where key = wanted.value ->> 0 limit 1
)
where delivery = 'pending' or (delivery = 'dead' and wanted.value ->> 1 = 'coupon returned');

-- name: cancel
-- A delivery is not wanted any more.
update effect set delivery = 'cancelled', next_at = null, outcome = ? where seq = ?;

-- name: coupon_codes
-- Imported codes of a pool behind a place.
select place, code from coupon_code where pool = ? and place > ? order by place limit ?;

-- name: coupon_code_count
-- How many codes were imported into a pool: they are numbered without a gap.
select coalesce(max(place), 0) from coupon_code where pool = ?;

-- name: known_codes
-- Which of the codes of a JSON array were imported or given already, and by which pool.
select wanted.value, coalesce(
    (select pool from coupon_code where code = wanted.value), (select pool from coupon_grant where code = wanted.value)
) as pool
from json_each(?) as wanted
where exists (select 1 from coupon_code where code = wanted.value)
    or exists (select 1 from coupon_grant where code = wanted.value);

-- name: add_code
-- An imported code.
insert into coupon_code (pool, place, code) values (?, ?, ?);

-- name: pools_with_codes
-- Pools into which codes were imported.
select pool, max(place) from coupon_code group by pool;

-- name: any_code
-- Whether codes stand in the store at all.
select exists (select 1 from coupon_code) or exists (select 1 from coupon_grant);

-- name: rename_move
-- The newest entry of the ledger about a code has another key.
update coupon_grant set by = ? where code = ?;
