-- Versions of playbooks: what is needed to compile each again, so that a journey can finish on the one it began with.
-- used: journeys or open goals may still run on it.
create table version (
    playbook text not null,
    hash text not null,
    since integer not null,
    sources blob not null,
    used integer not null,
    primary key (playbook, hash)
) strict, without rowid;
