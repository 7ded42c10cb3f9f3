-- One schema a store. Texts that are compared or sorted are compared by their bytes, which is the order of code points.
-- part: crc32(subject) % 256, for many workers; those of one subject are together. Instants: microseconds UTC.

-- What the one who decides holds: one row.
-- epoch: openings counted; turn: transactions of the one who decides; at: the engine's clock.
create table engine (
    one boolean primary key default true check (one),
    epoch bigint not null default 0,
    turn bigint not null default 0,
    at bigint not null default 0
) with (fillfactor = 10);

insert into engine (one) values (true);

-- A subject and the one instant at which it must be looked at again: there is no table of timers.
create table subject (
    part smallint not null check (part between 0 and 255),
    id text collate "C" primary key,
    state bytea not null,
    wake_at bigint
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);

create index subject_wake on subject (part, wake_at, id) where wake_at is not null;

-- Events taken in and not yet decided.
-- seq: number of the transaction that took it in * 2^20 + its place in it: who reads up to the oldest transaction that
-- still runs has seen everything before, which no sequence promises.
create table inbox (
    part smallint not null check (part between 0 and 255),
    seq bigint primary key,
    x xid8 not null default pg_current_xact_id(),
    id text collate "C" not null unique,
    body bytea not null
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

create sequence event_number;

-- Events decided, in order of decision; in parts of 2^22 rows, so that what is old goes as a whole.
-- history: it came from before the program's time. body: the event as a list.
create table event (
    part smallint not null check (part between 0 and 255),
    seq bigint not null default nextval('event_number'),
    x xid8 not null default pg_current_xact_id(),
    subject text collate "C",
    id text collate "C" not null,
    time bigint not null,
    decided_at bigint not null,
    history boolean not null,
    body bytea not null
) partition by range (seq);

create index event_seq on event (seq);

create index event_subject on event (subject, seq) where subject is not null;

create index event_decided on event using brin (decided_at) with (pages_per_range = 32);

-- The table has room for numbers up to one that is far enough ahead.
create function event_room() returns void language plpgsql as $$
declare
    size constant bigint := 1 << 22;
    first bigint := (select last_value / size from event_number);
begin
    for place in first .. first + 2 loop
        if to_regclass(format('event_%s', place)) is null then
            execute format(
                'create table event_%s partition of event for values from (%s) to (%s)',
                place, place * size, (place + 1) * size
            );
            -- No sample of what is about people is kept, see 0002; a part does not take that over.
            execute format(
                'alter table event_%s alter column subject set statistics 0, alter column id set statistics 0, '
                'alter column body set statistics 0', place
            );
        end if;
    end loop;
end
$$;

select event_room();

-- Events that groups and the program heard, too.
create table heard (
    subject text collate "C" not null,
    seq bigint not null,
    primary key (subject, seq)
);

-- Ids of decided events: the memory of duplicates, which is longer than that of events.
-- at: when it happened or was decided, whichever is later.
create table decided_id (
    id text collate "C" primary key,
    subject text collate "C",
    time bigint not null,
    at bigint not null
);

create index decided_id_at on decided_id (at);

-- Effects in order of decision, and how far their delivery is.
-- delivery: null (nothing to send) pending sending sent dead unknown cancelled
-- tried_at: first try by the channel that has it. receipt: the provider's own id. carries: codes it tells of.
create table effect (
    part smallint not null check (part between 0 and 255),
    seq bigint generated always as identity,
    key text collate "C" primary key,
    subject text collate "C",
    time bigint not null,
    channel text collate "C",
    body bytea not null,
    delivery text,
    attempts integer not null default 0,
    next_at bigint,
    tried_at bigint,
    outcome text,
    receipt text,
    carries text[],
    lease bigint
) with (fillfactor = 80);

create index effect_seq on effect (seq);

create index effect_subject on effect (subject, seq) where subject is not null;

-- What waits for a channel is found without a look at what it is not its turn of yet.
create index effect_pending on effect (channel, seq) where delivery = 'pending' and next_at is null;

create index effect_again on effect (channel, next_at) where delivery = 'pending' and next_at is not null;

create index effect_open on effect (delivery, seq) where delivery in ('sending', 'dead', 'unknown');

create index effect_receipt on effect (channel, receipt) where receipt is not null;

create index effect_carries on effect (subject) where carries is not null;

create table answer (
    key text collate "C" primary key,
    subject text collate "C",
    body bytea not null
);

create index answer_subject on answer (subject) where subject is not null;

-- Where each coupon stands that was given: the primary key is the promise that a code is given once.
-- status: issued redeemed reversed expired returned. moved, by: instant and ledger key of its newest move.
create table coupon_grant (
    code text collate "C" primary key,
    pool text collate "C" not null,
    key text collate "C" not null,
    at bigint not null,
    until bigint,
    amount text,
    playbook text,
    step text,
    status text not null,
    moved bigint not null,
    by text not null
);

create index coupon_grant_pool on coupon_grant (pool, at, code);

-- Codes that were imported, those of a pool numbered from 1 in the order in which they are given.
create table coupon_code (
    pool text collate "C" not null,
    place bigint not null check (place > 0),
    code text collate "C" not null unique,
    primary key (pool, place)
);

-- Stock that many workers take from: what is left, in shards; none is ever below nothing.
create table pool (
    pool text collate "C" not null,
    shard smallint not null default 0,
    free bigint not null check (free >= 0),
    primary key (pool, shard)
) with (fillfactor = 10);

create table resource (
    name text collate "C" primary key,
    body bytea not null
) with (fillfactor = 50);

create table slot (
    name text collate "C" primary key,
    body bytea not null
) with (fillfactor = 50);

create table decision (
    seq bigint generated always as identity primary key,
    subject text collate "C",
    time bigint not null,
    body bytea not null
);

create index decision_subject on decision (subject, seq) where subject is not null;

-- The ledger: everything of value that moved, in order of decision. body: the entry as a list of one.
create table entry (
    seq bigint generated always as identity primary key,
    key text collate "C" not null,
    subject text collate "C",
    book text not null,
    name text not null,
    time bigint not null,
    body bytea not null
);

create index entry_subject on entry (subject, seq) where subject is not null;

create table goal (
    seq bigint generated always as identity primary key,
    playbook text not null,
    occurrence text not null,
    "user" text collate "C" not null,
    held boolean not null,
    time bigint not null,
    worth text
);

create index goal_user on goal ("user");

-- Who came how far. what: entered held arm exited; of no playbook (''): segment.entered segment.left.
create table milestone (
    seq bigint generated always as identity primary key,
    playbook text not null,
    occurrence text not null,
    "user" text collate "C" not null,
    what text not null,
    name text,
    time bigint not null
);

create index milestone_user on milestone ("user");

create table quarantine (
    seq bigint generated always as identity primary key,
    feed text not null,
    position bigint not null,
    reason text not null,
    message text not null,
    raw bytea not null,
    at bigint not null
);

create table position (
    feed text collate "C" primary key,
    position bigint not null
) with (fillfactor = 10);

create table meta (
    name text collate "C" primary key,
    value text not null
) with (fillfactor = 50);

create table counter (
    name text collate "C" primary key,
    n bigint not null
) with (fillfactor = 10);

create table figure (
    playbook text collate "C" not null,
    name text collate "C" not null,
    n bigint not null,
    primary key (playbook, name)
) with (fillfactor = 10);

-- Versions of playbooks; used: journeys or open goals may still run on it.
create table version (
    playbook text collate "C" not null,
    hash text collate "C" not null,
    since bigint not null,
    sources bytea not null,
    used boolean not null,
    primary key (playbook, hash)
);

-- Who was erased, and when, under a pseudonym.
create table erased (
    alias text collate "C" primary key,
    at bigint not null
);

-- What was forgotten because it was old. at: what is gone happened up to here; n: how many.
create table forgotten (
    log text primary key,
    at bigint not null,
    n bigint not null
);

-- Subjects of whom events were forgotten.
create table forgotten_of (
    subject text collate "C" primary key
);
