-- Who was erased, and when: a pseudonym of the subject, so that events from before are recognised and dropped.
create table erased (
    alias text primary key,
    at integer not null
) strict, without rowid;
