-- Who began which playbook when, was held back, was drawn for which arm, was sent out: what shares of people are counted by.
-- what: entered held arm exited; name: why held or sent out, of an arm split=arm.
-- Of no playbook (''): segment.entered segment.left, with the name of the segment.
create table milestone (
    seq integer primary key,
    playbook text not null,
    occurrence text not null,
    user text not null,
    what text not null,
    name text,
    time integer not null
) strict;
-- What a goal was worth, where the playbook says, as a plain decimal.
alter table goal add column worth text;
-- Entries before this instant of the engine's clock are in no table.
insert into meta (name, value) select 'milestones_since', cast(at as text) from clock;
