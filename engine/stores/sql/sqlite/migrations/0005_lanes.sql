-- What a channel that works on its own needs to know of a delivery.
-- tried_at: instant of the first try by the channel that has it, from which the time for further tries counts.
alter table effect add column tried_at integer;

-- receipt: the provider's own id of the message, by which its receipts name it.
alter table effect add column receipt text;

create index effect_receipt on effect (channel, receipt) where receipt is not null;

-- By channel first: what waits for one channel must not be looked through for another.
drop index effect_pending;

create index effect_pending on effect (channel, seq, next_at) where delivery = 'pending';
