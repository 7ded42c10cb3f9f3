-- The outbox. Whoever may run beside others takes rows in one order, and leaves alone what another one holds.

-- name: claim
-- Deliveries to send over some channels, in order of decision, are about to be sent: as they were before. What another
-- session claims at this moment is passed over. Each channel is looked through by itself, in the order of its index.
update effect set delivery = 'sending', attempts = attempts + 1, tried_at = coalesce(tried_at, $2)
where ctid = any (array(
    select found.ctid from (select distinct unnest($1::text[])) as wanted (channel)
    cross join lateral (
        select effect.ctid, seq from effect
        where delivery = 'pending' and effect.channel = wanted.channel and (next_at is null or next_at <= $2)
        order by seq limit $3 for update skip locked
    ) as found
    order by found.seq limit $3
))
returning seq, attempts - 1, tried_at, key, time, channel, body;

-- name: claimable_numbers
-- Deliveries that may be sent over a channel, only where they stand.
select seq from effect
where delivery = 'pending' and (next_at is null or next_at <= $1) and channel = $2 order by seq limit $3;

-- name: settle
-- What became of deliveries; what was cancelled meanwhile stays so, unless it went out or may have.
update effect set delivery = said.delivery, next_at = said.next_at, outcome = said.outcome
from (
    select distinct on (key) delivery, next_at, outcome, key
    from unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) with ordinality
    as said (delivery, next_at, outcome, key, place)
    order by key, place desc
) as said
where effect.key = said.key and effect.delivery is not null
    and not (effect.delivery = 'cancelled' and said.delivery in ('pending', 'dead'));

-- name: pass_on
-- A channel refused deliveries for good: the next one has its tries.
update effect set channel = said.channel, delivery = 'pending', attempts = 0, tried_at = null, receipt = null,
    next_at = null, outcome = said.outcome
from unnest($1::text[], $2::text[], $3::text[]) as said (channel, outcome, key)
where effect.key = said.key and delivery is not null and delivery <> 'cancelled';

-- name: save_receipt
-- The provider's own ids of deliveries.
update effect set receipt = said.receipt from unnest($1::text[], $2::text[]) as said (receipt, key)
where effect.key = said.key and delivery is not null;

-- name: uncount
-- The provider only asked to come later: that was no try.
update effect set attempts = greatest(0, attempts - 1)
where key in (select unnest($1::text[])) and delivery = 'pending';

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
-- Deliveries that wait, in order of decision. The index goes by channel: the sorting is meant, only people ask this.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where delivery = 'pending' order by seq;

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
