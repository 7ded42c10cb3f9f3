-- The outbox. Whoever may run beside others takes rows in one order, and leaves alone what another one holds.

-- name: claim
-- Deliveries to send over some channels, in order of decision, are about to be sent: as they were before. What another
-- session claims at this moment is passed over. Each channel is looked through by itself: what was never tried in the
-- order of its index, and of what was tried only what is due again.
update effect set delivery = 'sending', attempts = attempts + 1, tried_at = coalesce(tried_at, $2)
where ctid = any (array(
    select found.place from (select distinct unnest($1::text[])) as wanted (channel)
    cross join lateral (
        select * from (
            select effect.ctid as place, seq from effect
            where delivery = 'pending' and next_at is null and effect.channel = wanted.channel
            order by seq limit $3 for update skip locked
        ) as fresh
        union all
        select * from (
            select effect.ctid, seq from effect
            where delivery = 'pending' and next_at is not null and next_at <= $2 and effect.channel = wanted.channel
            order by seq limit $3 for update skip locked
        ) as due
    ) as found
    order by found.seq limit $3
))
returning seq, attempts - 1, tried_at, key, time, channel, body;

-- name: claimable_numbers
-- Deliveries that may be sent over a channel, only where they stand.
select seq from (
    (select seq from effect where delivery = 'pending' and next_at is null and channel = $2 order by seq limit $3)
    union all
    (
        select seq from effect where delivery = 'pending' and next_at is not null and next_at <= $1 and channel = $2
        order by seq limit $3
    )
) as both_kinds order by seq limit $3;

-- name: claim_keys
-- Deliveries of some keys that wait are about to be sent: as they were before.
update effect set delivery = 'sending', attempts = effect.attempts + 1, tried_at = coalesce(effect.tried_at, $2)
from (
    select key as name, attempts as tries, tried_at as first from effect
    where key = any($1::text[]) and delivery = 'pending' for update skip locked
) as before
where effect.key = before.name
returning seq, before.tries, before.first, key, time, channel, body;

-- name: settle
-- What became of deliveries, whose keys are in order and stand once; what was cancelled meanwhile stays so, unless it
-- went out or may have. The provider's own id is kept whatever became of it; a provider who only asked to come later was
-- not tried, and of what was not even begun the time has not begun.
update effect set
    delivery = case when effect.delivery = 'cancelled' and said.delivery in ('pending', 'dead')
        then 'cancelled' else said.delivery end,
    next_at = case when effect.delivery = 'cancelled' and said.delivery in ('pending', 'dead')
        then effect.next_at else said.next_at end,
    outcome = case when effect.delivery = 'cancelled' and said.delivery in ('pending', 'dead')
        then effect.outcome else said.outcome end,
    attempts = case when said.uncounted and said.delivery = 'pending' and effect.delivery <> 'cancelled'
        then greatest(0, attempts - 1) else attempts end,
    tried_at = case when said.untried and said.delivery = 'pending' and effect.delivery <> 'cancelled'
        then null else tried_at end,
    receipt = coalesce(said.receipt, effect.receipt)
from unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::boolean[], $6::boolean[], $7::text[])
    as said (delivery, next_at, outcome, receipt, uncounted, untried, key)
where effect.key = said.key and effect.delivery is not null;

-- name: pass_on
-- A channel refused deliveries for good: the next one has its tries.
update effect set channel = said.channel, delivery = 'pending', attempts = 0, tried_at = null, receipt = null,
    next_at = null, outcome = said.outcome
from unnest($1::text[], $2::text[], $3::text[]) as said (channel, outcome, key)
where effect.key = said.key and delivery is not null and delivery <> 'cancelled';

-- name: save_receipt
-- The provider's own ids of deliveries that another channel has now.
update effect set receipt = said.receipt from unnest($1::text[], $2::text[]) as said (receipt, key)
where effect.key = said.key and delivery is not null;

-- name: open_deliveries
-- Deliveries that are being sent, dead or unknown, in order of decision; the index holds no others.
select attempts, outcome, tried_at, key, time, channel, body from effect
where delivery in ('sending', 'dead', 'unknown') and delivery = $1 order by seq;

-- name: deliveries
-- Deliveries in any status, in order of decision.
select attempts, outcome, tried_at, key, time, channel, body from effect where delivery = $1 order by seq;

-- name: tries
-- The instants before which pending deliveries are not tried again.
select next_at from effect where delivery = 'pending' and next_at is not null;

-- name: outbox_pending
-- Deliveries that wait, in order of decision. The indexes go by channel: the sorting is meant, only people ask this.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt from (
    select * from effect where delivery = 'pending' and next_at is null
    union all
    select * from effect where delivery = 'pending' and next_at is not null
) as both_kinds order by seq;

-- name: outbox_open
-- Deliveries that are being sent, dead or unknown, in order of decision.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where delivery in ('sending', 'dead', 'unknown') and delivery = $1 order by seq;

-- name: outbox_other
-- Deliveries in any other status, in order of decision.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where delivery = $1 order by seq;

-- name: delivery
-- One delivery.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where key = $1 and delivery is not null;

-- name: redrive
-- A person has deliveries tried again, as if they had never been.
update effect set delivery = 'pending', attempts = 0, tried_at = null, next_at = null
where key in (select unnest($1::text[])) and delivery in ('dead', 'unknown');

-- name: drop_delivery
-- A person gives deliveries up.
update effect set delivery = 'cancelled', next_at = null, outcome = 'dropped'
where key in (select unnest($1::text[])) and delivery in ('pending', 'dead', 'unknown');

-- name: by_receipt
-- The newest delivery for which the provider of a channel gave this id.
select key from effect where channel = $1 and receipt = $2 order by seq desc limit 1;
