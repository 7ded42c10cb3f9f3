-- Many who decide: each holds the row of a part from the first word it reads to the commit.
-- turn: how often it was decided. at: its engine clock. slot_at: its next slot. ran, worker: when it was decided last
-- (microseconds UTC, by the server), and by which session.
create table part (
    part smallint primary key check (part between 0 and 255),
    turn bigint not null default 0,
    at bigint not null,
    slot_at bigint,
    ran bigint not null default 0,
    worker bigint not null default 0
) with (fillfactor = 10);

-- Slots, counters and figures of each part: rows of which every transaction writes some must not be shared.
create table part_slot (
    part smallint not null,
    name text collate "C" not null,
    body bytea not null,
    primary key (part, name)
) with (fillfactor = 50);

create table part_counter (
    part smallint not null,
    name text collate "C" not null,
    n bigint not null,
    primary key (part, name)
) with (fillfactor = 10);

create table part_figure (
    part smallint not null,
    playbook text collate "C" not null,
    name text collate "C" not null,
    n bigint not null,
    primary key (part, playbook, name)
) with (fillfactor = 10);

-- stamp: the newest time that came in up to this event, whoever it was about; null: its own.
alter table inbox add column stamp bigint;

create index inbox_part on inbox (part, seq);

create index subject_part on subject (part, id);

-- One row. at: the newest time that came in. frontier: what is due up to there may go, where no event tells; null: now.
create table log (
    one boolean primary key default true check (one),
    at bigint not null default 0,
    frontier bigint
) with (fillfactor = 10);

insert into log (one, at) select true, at from engine;
