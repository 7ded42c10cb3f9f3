-- Questions about states, written by asking.py in the words of postgres_words.py.

-- name: audience_table
-- A page of subjects whom a question does not refuse. {verdict} is 1 (yes), -1 (no) or 0 (ask). Whoever has to be asked
-- comes with the state, whoever is certain without; a state that is no document is asked about. The blanks in the query
-- (offset 0) keep a state from being read, and the question from being answered, more than once.
select id, case said when 0 then state end from (
    select id, state, case when doc is null then 0 else {verdict} end as said from (
        select id, state, drumbeat_document(state) as doc from subject where id > $1 order by id offset 0
    ) as told offset 0
) as judged where said >= 0 order by id limit $2;
