-- What questions about states need, see postgres_words.py. Whatever text stands there, none of these ends in an error.

-- The state as a document, with U+FFFF for NUL; null for one that cannot be kept so (a number beyond numeric, or a text
-- with U+FFFF beside one with NUL).
create function drumbeat_document(state bytea) returns jsonb language plpgsql immutable strict as $$
declare
    written text;
begin
    written := convert_from(state, 'UTF8');
    if strpos(written, '\u0000') > 0 then
        if strpos(written, chr(65535)) > 0 then
            return null;
        end if;
        written := regexp_replace(written, '(?<!\\)((?:\\\\)*)\\u0000', '\1\\uffff', 'g');
    end if;
    return written::jsonb;
exception when data_exception or program_limit_exceeded then
    return null;
end
$$;

-- Microseconds of midnight UTC of YYYY-MM-DD; null for what is none.
create function drumbeat_midnight(day text) returns bigint language plpgsql immutable strict as $$
begin
    if day !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' or day < '0002' collate "C" then
        return null;
    end if;
    return extract(epoch from day::date)::bigint * 1000000;
exception when data_exception then
    return null;
end
$$;

-- Microseconds of an instant in the form of RFC 3339 without fractions; null for what is none.
create function drumbeat_instant(word text) returns bigint language plpgsql immutable strict as $$
begin
    if word !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-][01][0-9]:[0-5][0-9])$'
        or word < '0002' collate "C" then
        return null;
    end if;
    return extract(epoch from left(word, 19)::timestamp)::bigint * 1000000 - case right(left(word, 20), 1)
        when 'Z' then 0
        when '+' then (substr(word, 21, 2)::bigint * 60 + substr(word, 24, 2)::bigint) * 60000000
        else -(substr(word, 21, 2)::bigint * 60 + substr(word, 24, 2)::bigint) * 60000000
    end;
exception when data_exception then
    return null;
end
$$;

-- What the server itself finds wrong: an index that is not whole, a row that cannot be read. Where the extension amcheck
-- is there, and may be used, indexes are compared with their tables, too.
create function drumbeat_damage() returns setof text language plpgsql as $$
declare
    it record;
    amcheck text := (
        select quote_ident(nspname) from pg_extension join pg_namespace on pg_namespace.oid = extnamespace
        where extname = 'amcheck'
    );
begin
    for it in
        select pg_class.oid, relname, relkind, coalesce(indisvalid and indisready, true) as whole, relam
        from pg_class join pg_namespace on pg_namespace.oid = relnamespace
        left join pg_index on indexrelid = pg_class.oid
        where nspname = current_schema() and relkind in ('r', 'i') order by relkind desc, relname
    loop
        begin
            if not it.whole then
                return next 'index ' || it.relname || ' is not whole';
            elsif it.relkind = 'r' then
                execute format('select sum(hashtext(it::text)::bigint) from %I as it', it.relname);
            elsif amcheck is not null and it.relam = (select oid from pg_am where amname = 'btree') then
                execute format('select %s.bt_index_check($1)', amcheck) using it.oid::regclass;
            end if;
        exception
            when insufficient_privilege then
                null;
            when data_corrupted or index_corrupted or internal_error or io_error or data_exception then
                return next it.relname || ': ' || sqlerrm;
        end;
    end loop;
end
$$;

-- Parts of the table of events in which nothing is left, and to which nothing is added any more, go; unless somebody
-- looks at them for longer than a moment.
create function drop_event_parts() returns void language plpgsql as $$
declare
    size constant bigint := 1 << 22;
    part regclass;
    nothing boolean;
begin
    perform set_config('lock_timeout', '200ms', true);
    for part in
        select inhrelid::regclass from pg_inherits join pg_class on pg_class.oid = inhrelid
        where inhparent = 'event'::regclass
            and substring(relname from '[0-9]+$')::bigint < (select last_value / size from event_number)
        order by substring(relname from '[0-9]+$')::bigint
    loop
        execute format('select not exists (select 1 from %s)', part) into nothing;
        exit when not nothing;
        execute format('drop table %s', part);
    end loop;
    perform set_config('lock_timeout', '30s', true);
exception when lock_not_available then
    perform set_config('lock_timeout', '30s', true);
end
$$;

-- The oldest part of the table of events goes as a whole, where nothing is added to it any more and all of it is older
-- than an instant.
create function drop_old_part(before bigint, out upto bigint, out newest bigint, out gone bigint)
language plpgsql as $$
declare
    size constant bigint := 1 << 22;
    part regclass;
    last bigint;
begin
    select inhrelid::regclass into part from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = 'event'::regclass
        and substring(relname from '[0-9]+$')::bigint < (select last_value / size from event_number)
    order by substring(relname from '[0-9]+$')::bigint limit 1;
    if part is null then
        return;
    end if;
    execute format('select decided_at from %s order by seq desc limit 1', part) into last;
    if last is null or last >= before then
        return;
    end if;
    execute format('select max(seq), max(greatest(time, decided_at)), count(*) from %s', part) into upto, newest, gone;
    if newest >= before then
        upto := null;
        return;
    end if;
    perform set_config('lock_timeout', '200ms', true);
    execute format(
        'insert into forgotten_of (subject) select subject from %s where subject is not null
        union select subject from heard where seq <= $1 on conflict do nothing', part
    ) using upto;
    execute format('drop table %s', part);
    perform set_config('lock_timeout', '30s', true);
exception when lock_not_available then
    perform set_config('lock_timeout', '30s', true);
    upto := null;
end
$$;

-- Found by number: what was heard goes with the events.
create index heard_seq on heard using brin (seq) with (pages_per_range = 32);

-- No sample of what is about people is kept: the server's statistics would remember who was erased. No plan hangs on
-- them.
alter table subject alter column id set statistics 0, alter column state set statistics 0;
alter table inbox alter column id set statistics 0, alter column body set statistics 0;
alter table event alter column subject set statistics 0, alter column id set statistics 0,
    alter column body set statistics 0;
alter table heard alter column subject set statistics 0;
alter table decided_id alter column id set statistics 0, alter column subject set statistics 0;
alter table effect alter column subject set statistics 0, alter column body set statistics 0,
    alter column receipt set statistics 0, alter column carries set statistics 0;
alter table answer alter column subject set statistics 0, alter column body set statistics 0;
alter table decision alter column subject set statistics 0, alter column body set statistics 0;
alter table entry alter column key set statistics 0, alter column subject set statistics 0,
    alter column body set statistics 0;
alter table goal alter column "user" set statistics 0, alter column occurrence set statistics 0;
alter table milestone alter column "user" set statistics 0, alter column occurrence set statistics 0;
alter table quarantine alter column raw set statistics 0, alter column message set statistics 0;
alter table coupon_grant alter column code set statistics 0, alter column by set statistics 0;
