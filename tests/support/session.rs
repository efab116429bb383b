//! What the session of a server has beyond what it was opened with, asked of PostgreSQL by that
//! session itself: some of its views tell of no other.

/// All of it in one text. A parameter counts that was SET in the session and has another value than
/// it began with; prepared statements of the pooler's own do not.
pub const INSPECT: &str = "select concat_ws(' ', \
    'locks:' || (select count(*) from pg_locks where locktype = 'advisory' \
        and pid = pg_backend_pid()), \
    'channels:' || (select count(*) from pg_listening_channels()), \
    'temporary:' || (select count(*) from pg_class where relpersistence = 't' \
        and relnamespace = pg_my_temp_schema()), \
    'cursors:' || (select count(*) from pg_cursors where is_holdable), \
    'prepared:' || (select count(*) from pg_prepared_statements where name not like 'PGBOUNCER%'), \
    'role:' || current_user || '/' || session_user, \
    'settings:' || (select coalesce(string_agg(name, ',' order by name), '-') from pg_settings \
        where source = 'session' and setting is distinct from reset_val), \
    'custom:' || coalesce(nullif(current_setting('my.mark', true), ''), '-'))";

/// What it says of a session of `APP` in which nothing is left.
pub const CLEAN: &str =
    "locks:0 channels:0 temporary:0 cursors:0 prepared:0 role:app/app settings:- custom:-";
