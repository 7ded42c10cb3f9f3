-- Coupons: codes that were imported, and where each stands that was given.

-- name: add_grant
-- Coupon codes given away; those that are out are left as they are, and missing in the count of rows.
insert into coupon_grant (code, pool, key, at, until, amount, playbook, step, status, moved, by)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::bigint[], $11::text[]
)
on conflict (code) do update set pool = excluded.pool, key = excluded.key, at = excluded.at, until = excluded.until,
    amount = excluded.amount, playbook = excluded.playbook, step = excluded.step, status = excluded.status,
    moved = excluded.moved, by = excluded.by
where coupon_grant.status = 'returned';

-- name: move_grant
-- What became of coupons.
update coupon_grant set status = said.status, moved = said.moved, by = said.by
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) as said (status, moved, by, code)
where coupon_grant.code = said.code;

-- name: rename_move
-- The newest entries of the ledger about codes have other keys.
update coupon_grant set by = said.by from unnest($1::text[], $2::text[]) as said (by, code)
where coupon_grant.code = said.code;

-- name: coupon
-- A coupon that was given.
select code, pool, key, (select subject from effect where effect.key = coupon_grant.key),
    at, until, amount, playbook, step, status, moved, by
from coupon_grant where code = $1;

-- name: coupons
-- Coupons that were given, of one pool or (null) of all.
select code, pool, key, (select subject from effect where effect.key = coupon_grant.key),
    at, until, amount, playbook, step, status, moved, by
from coupon_grant where $1::text is null or pool = $1 order by pool, at, code;

-- name: coupon_sums
-- How many coupons stand how: by pool, playbook, cost and status; one that lapsed by an instant counts as expired.
select pool, playbook, amount, stands, count(*) from (
    select pool, playbook collate "C" as playbook, amount collate "C" as amount,
        (case when status in ('issued', 'reversed') and until < $1 then 'expired' else status end) collate "C" as stands
    from coupon_grant
) as one group by 1, 2, 3, 4 order by 1, 2 nulls first, 3 nulls first, 4;

-- name: coupon_days
-- Coupons of each pool given since an instant, by its distance in days (1: the last 24 hours before another instant).
select pool, ($2 - at) / 86400000000 + 1, count(*) from coupon_grant
where at > $1 and at <= $2 and status <> 'returned' group by 1, 2;

-- name: first_grant
-- When each pool gave its first coupon.
select pool, min(at) from coupon_grant group by 1;

-- name: carriers
-- What told a subject of a code, with its delivery; the index holds only effects that tell of any.
select key, delivery from effect where subject = $1 and carries is not null and $2 = any (carries) order by seq;

-- name: cancellable
-- Deliveries of a JSON array of [key, reason] that have not begun (or are dead, where the reason takes those too). They
-- are held, so that nobody begins them before they are cancelled.
select effect.seq, wanted.reason, case when carries is not null then effect.key end, time, channel, body
from (
    select pair ->> 0 as key, pair ->> 1 as reason
    from jsonb_array_elements(convert_from($1::bytea, 'UTF8')::jsonb) with ordinality as one (pair, place)
    order by key, place
) as wanted join effect on effect.key = wanted.key
where delivery = 'pending' or (delivery = 'dead' and wanted.reason = 'coupon returned')
for update of effect;

-- name: cancel
-- Deliveries are not wanted any more.
update effect set delivery = 'cancelled', next_at = null, outcome = said.outcome
from unnest($1::text[], $2::bigint[]) as said (outcome, seq) where effect.seq = said.seq;

-- name: coupon_codes
-- Imported codes of a pool behind a place.
select place, code from coupon_code where pool = $1 and place > $2 order by place limit $3;

-- name: coupon_code_count
-- How many codes were imported into a pool: they are numbered without a gap.
select coalesce((select place from coupon_code where pool = $1 order by place desc limit 1), 0);

-- name: known_codes
-- Which of some codes were imported or given already, and by which pool.
select code, pool from coupon_code where code = any ($1::text[])
union all
select code, pool from coupon_grant
where code = any ($1::text[]) and not exists (select 1 from coupon_code where coupon_code.code = coupon_grant.code);

-- name: add_code
-- Imported codes.
insert into coupon_code (pool, place, code) select * from unnest($1::text[], $2::bigint[], $3::text[]);

-- name: pools_with_codes
-- Pools into which codes were imported.
select pool, max(place) from coupon_code group by pool;

-- name: any_code
-- Whether codes stand in the store at all.
select exists (select 1 from coupon_code) or exists (select 1 from coupon_grant);
