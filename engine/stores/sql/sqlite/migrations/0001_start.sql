-- "DRMB": tells a store of ours from any other SQLite file.
pragma application_id = 1146244418;

create table migration (
    version integer primary key,
    name text not null,
    sha256 text not null
) strict;

-- A subject and the one instant at which it must be looked at again: there is no table of timers.
create table subject (
    id text primary key,
    state blob not null,
    wake_at integer
) strict, without rowid;

create index subject_wake on subject (wake_at, id) where wake_at is not null;

-- States changed lately, one row a commit, not yet folded into their subjects. Its numbers are never used twice.
create table state_log (
    seq integer primary key autoincrement,
    body blob not null
) strict;

-- Events decided, in order of decision. Rows are only ever added at the end; the ids are the memory of duplicates.
create table event (
    seq integer primary key,
    id text not null,
    subject text,
    time integer not null,
    decided_at integer not null,
    body blob not null
) strict;

create unique index event_id on event (id);

-- Events taken in and not yet decided. Numbers are never used twice, because readers ask for what is after a number.
create table inbox (
    seq integer primary key autoincrement,
    id text not null unique,
    body blob not null
) strict;

-- Effects in order of decision, and how far their delivery is.
-- delivery: null (nothing to send) pending sending sent dead unknown
create table effect (
    seq integer primary key,
    key text not null,
    subject text,
    time integer not null,
    channel text,
    body blob not null,
    delivery text,
    attempts integer not null default 0,
    next_at integer,
    outcome text
) strict;

create unique index effect_key on effect (key);

create index effect_pending on effect (seq, channel, next_at) where delivery = 'pending';

create index effect_open on effect (delivery, seq) where delivery in ('sending', 'dead', 'unknown');

create table answer (
    key text primary key,
    subject text,
    body blob not null
) strict, without rowid;

create index answer_subject on answer (subject) where subject is not null;

-- A code is given once: the primary key is the promise.
create table coupon_grant (
    code text primary key,
    pool text not null,
    key text not null
) strict, without rowid;

create table resource (
    name text primary key,
    body blob not null
) strict, without rowid;

create table decision (
    seq integer primary key,
    subject text,
    body blob not null
) strict;

-- Which rows of a log (1 event, 2 effect, 3 decision) belong to a subject, for the rows up to ``trailed``; later ones
-- are few and found by looking.
-- An index kept at every commit would touch a page for nearly every row.
create table trail (
    subject text not null,
    log integer not null,
    seq integer not null,
    primary key (subject, log, seq)
) strict, without rowid;

create table trailed (
    log integer primary key,
    seq integer not null
) strict;

insert into trailed (log, seq) values (1, 0), (2, 0), (3, 0);

create table goal (
    seq integer primary key,
    playbook text not null,
    occurrence text not null,
    user text not null,
    held integer not null,
    time integer not null
) strict;

create table quarantine (
    seq integer primary key autoincrement,
    feed text not null,
    position integer not null,
    reason text not null,
    message text not null,
    raw blob not null,
    at integer not null
) strict;

create table position (
    feed text primary key,
    position integer not null
) strict, without rowid;

create table meta (
    name text primary key,
    value text not null
) strict, without rowid;

create table counter (
    name text primary key,
    n integer not null
) strict, without rowid;

create table figure (
    playbook text not null,
    name text not null,
    n integer not null,
    primary key (playbook, name)
) strict, without rowid;

-- The engine's clock: one row.
create table clock (
    one integer primary key check (one = 1),
    at integer not null
) strict;
