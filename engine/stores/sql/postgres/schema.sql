-- Which schema a store has, who writes it, and what the server promises.

-- name: server
-- What of the settings of the server a store hangs on.
select current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_commit'), current_setting('server_version_num')::integer;

-- name: myself
-- This session, as it is known again.
select pg_backend_pid(), backend_start::text from pg_stat_activity where pid = pg_backend_pid();

-- name: set_path
-- Where names without a schema are looked for.
select set_config('search_path', $1, false);

-- name: has_schema
-- Whether there is a schema of this name.
select count(*) from pg_namespace where nspname = $1;

-- name: has_migrations
-- Whether a schema records migrations.
select count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1 and relname = 'migration';

-- name: table_count
-- Number of tables in a schema.
select count(*) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where nspname = $1 and relkind in ('r', 'p');

-- name: make_migrations
-- The record of migrations.
create table migration (version integer primary key, name text not null, sha256 text not null);

-- name: version
-- Number of the newest migration applied.
select coalesce(max(version), 0) from migration;

-- name: add_migration
-- The record that a migration was applied.
insert into migration (version, name, sha256) values ($1, $2, $3);

-- name: lock
-- The right to write, which ends with the session.
select pg_try_advisory_lock($1);

-- name: holder
-- Who has it: name and address.
select it.application_name, coalesce(host(it.client_addr), 'this machine')
from pg_locks join pg_stat_activity as it on it.pid = pg_locks.pid
where locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
    and ((classid::bigint << 32) | objid::bigint) = $1;

-- name: here
-- Does the server answer?
select 1;

-- name: end_session
-- End a session, where it is there still; what it had not committed is gone then.
select coalesce((
    select pg_terminate_backend(pid, 5000) from pg_stat_activity
    where pid = $1 and backend_start::text = $2 and pid <> pg_backend_pid()
), true);

-- name: count_epoch
-- Count an opening.
update engine set epoch = epoch + 1 where one returning epoch, turn;

-- name: standing
-- How often the store was opened, and how many transactions its writers made.
select epoch, turn from engine where one;

-- name: fence
-- A transaction of the one who decides begins; no row: somebody else opened the store since.
update engine set turn = turn + 1 where one and epoch = $1 returning turn;

-- name: number
-- Number of the transaction.
select pg_current_xact_id()::text;

-- name: outcome
-- What became of a transaction.
select pg_xact_status($1::text::xid8);

-- name: standbys
-- How many servers copy this one, and for which of them a commit waits.
select count(*), current_setting('synchronous_standby_names'), current_setting('synchronous_commit')
from pg_stat_replication;

-- name: oldest_open
-- Seconds for which the oldest transaction that may write here is open, and whose it is.
select extract(epoch from clock_timestamp() - xact_start)::float8, application_name from pg_stat_activity
where backend_xid is not null and backend_type = 'client backend' and pid <> pg_backend_pid()
    and datid = (select oid from pg_database where datname = current_database())
order by xact_start limit 1;

-- name: cluster
-- What tells this schema from a copy of it elsewhere.
select system_identifier::text, (select oid::text from pg_database where datname = current_database()),
    (select oid::text from pg_namespace where nspname = current_schema())
from pg_control_system();
