-- What the outbox asks for beside claiming and settling.

-- name: save_receipt
-- The provider's own id of a delivery.
update effect set receipt = ?1
where seq = (
    select seq from recent_key where key = ?2 union all select seq from effect_place where key = ?2 limit 1
) and delivery is not null;

-- name: uncount
-- The provider only asked to come later: that was no try.
update effect set attempts = max(0, attempts - 1)
where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery = 'pending';

-- name: pending_of_key
-- A delivery that waits.
select seq, attempts, tried_at, key, time, channel, body from effect
where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery = 'pending';

-- name: untry
-- It was never begun: the time in which it may be tried has not begun either.
update effect set tried_at = null
where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery = 'pending';

-- name: tries
-- The instants before which pending deliveries are not tried again.
select next_at from effect indexed by effect_pending where delivery = 'pending' and next_at is not null;

-- name: outbox_pending
-- Deliveries that wait, in order of decision. The index goes by channel: the sorting is meant, only people ask this.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect indexed by effect_pending where delivery = 'pending' order by seq;

-- name: outbox_open
-- Deliveries that are being sent, dead or unknown, in order of decision.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect indexed by effect_open where delivery in ('sending', 'dead', 'unknown') and delivery = ? order by seq;

-- name: outbox_other
-- Deliveries in any other status, in order of decision.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where delivery = ? order by seq;

-- name: delivery
-- One delivery.
select attempts, tried_at, key, time, channel, body, delivery, outcome, next_at, receipt
from effect where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery is not null;

-- name: redrive
-- A person has a delivery tried again, as if it had never been.
update effect set delivery = 'pending', attempts = 0, tried_at = null, next_at = null
where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery in ('dead', 'unknown');

-- name: drop_delivery
-- A person gives a delivery up.
update effect set delivery = 'cancelled', next_at = null, outcome = 'dropped'
where seq = (
    select seq from recent_key where key = ?1 union all select seq from effect_place where key = ?1 limit 1
) and delivery in ('pending', 'dead', 'unknown');

-- name: by_receipt
-- The newest delivery for which the provider of a channel gave this id.
select key from effect indexed by effect_receipt where channel = ? and receipt = ? order by seq desc limit 1;
