-- What questions about states need, see postgres_words.py. Whatever text stands there, none of these ends in an error.

-- The state as a document, with U+FFFF for NUL; null for one that cannot be kept so (a number beyond numeric, or what
-- looks like an escaped NUL and is none).
create function drumbeat_document(state bytea) returns jsonb language plpgsql immutable strict as $$
declare
    written text;
begin
    written := convert_from(state, 'UTF8');
    if strpos(written, '\u0000') > 0 then
        if strpos(written, '\\u0000') > 0 or strpos(written, chr(65535)) > 0 then
            return null;
        end if;
        written := replace(written, '\u0000', '\uffff');
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
