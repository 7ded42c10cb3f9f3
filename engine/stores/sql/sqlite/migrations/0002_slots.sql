-- Slots of schedules: one row a trigger, with the newest slot done and, while one is walked, the last subject it was
-- decided for. Its name is playbook/trigger.
create table slot (
    name text primary key,
    body blob not null
) strict, without rowid;
