//! What drivers and frameworks send without being asked, as it was seen on the wire, under each
//! `session_state`: resets of their own cost nothing more, and what they SET, LISTEN to or lock is
//! found by nobody else.

mod support;

use std::sync::{Arc, Mutex};

use support::client::Login;
use support::postgres::APP;
use support::session::{CLEAN, INSPECT};
use support::{Client, FakeServer, Pooler, Postgres, Setup, eventually, fake, wire};

/// One server in transaction pooling, so that whatever is left is found.
fn setup(policy: &str) -> Setup {
    Setup::new()
        .set("session_state", policy)
        .set("default_pool_size", "1")
        .set("pin_limit", "100")
        .set("ignore_startup_parameters", "extra_float_digits")
        .set("max_prepared_statements", "100")
}

// --------------------------------------------------------------------------------------------
// Resets.

/// What a driver sends before it gives a connection to another part of its program: text, and
/// whether the next query goes out with it.
const RESETS: [(&str, &str, bool); 4] = [
    ("asyncpg", "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;", false),
    ("npgsql", "DISCARD ALL", true),
    (
        "npgsql with prepared statements",
        "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;\
         SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP",
        true,
    ),
    (
        "pgx",
        "SET SESSION AUTHORIZATION DEFAULT; RESET ALL; CLOSE ALL; UNLISTEN *; DISCARD TEMP; \
         SELECT pg_advisory_unlock_all()",
        false,
    ),
];

/// What a batch is about to take back again. None of it is taken back by all of them: a statement
/// of PREPARE stays behind asyncpg's, a temporary table, too.
const LEFT: &str = "SET work_mem = '1MB'; LISTEN news; SELECT pg_advisory_lock(1)";

/// A server that answers each statement with the tag that PostgreSQL has for it, and notes what it
/// is sent.
fn noting_server() -> (FakeServer, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notes = heard.clone();
    let server = FakeServer::start(move |wire| {
        if !matches!(fake::hear_startup(wire), Ok(Some(_))) || !wire.send(&fake::welcome()) {
            return;
        }
        while let Ok(message) = wire.hear() {
            let text = String::from_utf8_lossy(&message.body).into_owned();
            let text = text.trim_matches('\0').to_owned();
            notes.lock().expect("no panic").push(format!("{} {text}", message.kind as char));
            let answer = match message.kind {
                b'Q' => [tags(&text, true), wire::ready(b'I')].concat(),
                b'P' => wire::message(b'1', b""),
                b'B' => wire::message(b'2', b""),
                b'E' => tags("SELECT 1", false),
                b'S' => wire::ready(b'I'),
                _ => return,
            };
            wire.send(&answer);
        }
    });
    (server, heard)
}

/// The end of each statement of a text, and a row of those that SELECT.
fn tags(text: &str, is_described: bool) -> Vec<u8> {
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let answers = statements.flat_map(|statement| {
        let first = statement.split_whitespace().next().unwrap_or_default();
        let tag = match first {
            "SELECT" => "SELECT 1",
            "CLOSE" => "CLOSE CURSOR ALL",
            "DISCARD" => statement,
            other => other,
        };
        let is_query = first == "SELECT";
        let row = if is_query { wire::data_row(&[b"1"]) } else { vec![] };
        let head = if is_query && is_described { wire::row_description(&["v"]) } else { vec![] };
        [head, row, wire::message(b'C', format!("{tag}\0").as_bytes())].concat()
    });
    answers.collect()
}

/// Under `reset` they have nothing to take back, since nothing is left from one transaction to the
/// next; under `pin` they are what gives the server back, which was asked once for its locks.
#[test]
fn a_drivers_own_reset_is_all_that_the_server_is_sent() {
    for (policy, before, expected) in [
        ("allow", LEFT, "QQPBESQ"),
        ("warn", LEFT, "QQPBESQ"),
        ("reset", "SELECT 1", "QQPBESQ"),
        ("pin", LEFT, "QQQPBESQ"),
        ("pin", "SET work_mem = '1MB'; LISTEN news", "QQPBESQ"),
        ("error", "SELECT 1", "QQPBESQ"),
    ] {
        let (server, notes) = noting_server();
        let line = format!("host=127.0.0.1 port={}", server.port);
        let pooler = setup(policy).database("app", &line).start();
        for (driver, batch, goes_with_the_next) in RESETS {
            let mut client = pooler.client();
            client.query(before).expect("an answer");
            let next = [wire::parse("", "SELECT 1"), wire::bind("", &[]), wire::execute()];
            let next = [next.concat(), wire::sync()].concat();
            let trips = match goes_with_the_next {
                true => vec![([wire::query(batch), next].concat(), 2)],
                false => vec![(wire::query(batch), 1), (next, 1)],
            };
            for (bytes, answers) in trips {
                client.wire.send(&bytes);
                (0..answers).for_each(|_| drop(client.answer().expect("an answer")));
            }
            pooler.client().query("SELECT 2").expect("the server is free");
            let heard = std::mem::take(&mut *notes.lock().expect("no panic"));
            let kinds = heard.iter().map(|message| &message[..1]).collect::<String>();
            assert_eq!(kinds, expected, "{policy}, {driver}: {heard:?}");
            assert!(heard.contains(&format!("Q {batch}")), "{policy}, {driver}: {heard:?}");
        }
    }
}

// --------------------------------------------------------------------------------------------
// What is sent at connect, and with each query.

/// How a statement is sent.
#[derive(Clone, Copy)]
enum By {
    Query,
    /// The unnamed statement.
    Unnamed,
    /// As PDO does: a name, and a DEALLOCATE of it.
    Pdo,
}

/// A program, what it asks for in its startup packet, and what it sends then.
struct Habit {
    of: &'static str,
    startup: &'static [(&'static str, &'static str)],
    sends: &'static [(By, &'static str)],
    /// Something is left, and what it is called.
    leaves: Option<&'static str>,
    /// What the client must find afterwards where it has its own: a query and its answer.
    finds: (&'static str, &'static str),
}

const UTF8: &[(&str, &str)] = &[("client_encoding", "UTF8")];

const HABITS: &[Habit] = &[
    Habit {
        of: "Rails",
        startup: &[("application_name", "bin/rails")],
        sends: &[
            (By::Query, "SET client_min_messages TO 'warning'"),
            (By::Query, "SET standard_conforming_strings = on"),
            (By::Query, "SET intervalstyle = iso_8601"),
            (By::Query, "SET SESSION timezone TO 'UTC'"),
        ],
        leaves: Some("set"),
        finds: ("show client_min_messages", "warning"),
    },
    Habit {
        of: "Rails, with min_messages left alone",
        startup: &[("application_name", "bin/rails")],
        sends: &[
            (By::Query, "SET standard_conforming_strings = on"),
            (By::Query, "SET intervalstyle = iso_8601"),
            (By::Query, "SET SESSION timezone TO 'Asia/Tokyo'"),
        ],
        leaves: None,
        finds: (
            "select current_setting('intervalstyle') || current_setting('timezone')",
            "iso_8601Asia/Tokyo",
        ),
    },
    Habit {
        of: "Django",
        startup: UTF8,
        sends: &[(By::Query, "SELECT set_config('TimeZone', 'Asia/Tokyo', false)")],
        leaves: None,
        finds: ("show timezone", "Asia/Tokyo"),
    },
    Habit {
        of: "django-pghistory",
        startup: UTF8,
        sends: &[(
            By::Query,
            "SELECT set_config('pghistory.context_id', 'a-b-c', true), \
             set_config('pghistory.context_metadata', '{\"user\": 1}', true); SELECT 1",
        )],
        leaves: None,
        finds: (
            "select coalesce(nullif(current_setting('pghistory.context_id', true), ''), '-')",
            "-",
        ),
    },
    Habit {
        of: "Laravel",
        startup: &[],
        sends: &[
            (By::Pdo, "set names 'utf8'"),
            (By::Pdo, "set time zone 'Asia/Tokyo'"),
            (By::Pdo, "set application_name to 'laravel'"),
        ],
        leaves: None,
        finds: (
            "select current_setting('timezone') || current_setting('application_name')",
            "Asia/Tokyolaravel",
        ),
    },
    Habit {
        of: "Laravel with a search_path",
        startup: &[],
        sends: &[(By::Pdo, "set names 'utf8'"), (By::Pdo, "set search_path to \"public\"")],
        leaves: Some("set"),
        finds: ("show search_path", "public"),
    },
    Habit {
        of: "pgjdbc",
        startup: &[
            ("client_encoding", "UTF8"),
            ("DateStyle", "ISO"),
            ("TimeZone", "Etc/UTC"),
            ("extra_float_digits", "2"),
        ],
        sends: &[
            (By::Unnamed, "SET extra_float_digits = 3"),
            (By::Unnamed, "SET application_name = 'PostgreSQL JDBC Driver'"),
        ],
        leaves: None,
        finds: ("show application_name", "PostgreSQL JDBC Driver"),
    },
    Habit {
        of: "psqlODBC",
        startup: &[],
        sends: &[(
            By::Query,
            "SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation",
        )],
        leaves: None,
        finds: ("show datestyle", "ISO, MDY"),
    },
    Habit {
        of: "Hasura",
        startup: &[],
        sends: &[
            (By::Query, "BEGIN ISOLATION LEVEL READ COMMITTED"),
            (By::Query, "SET LOCAL \"hasura.user\" = '{\"x-hasura-role\": \"user\"}'"),
            (By::Unnamed, "SELECT pg_advisory_xact_lock(1, 2)"),
            (By::Query, "COMMIT"),
        ],
        leaves: None,
        finds: ("select coalesce(nullif(current_setting('hasura.user', true), ''), '-')", "-"),
    },
    Habit {
        of: "Prisma's migrations",
        startup: &[],
        sends: &[(By::Unnamed, "SELECT pg_advisory_lock(72707369)")],
        leaves: Some("lock"),
        finds: (
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
            "1",
        ),
    },
    Habit {
        of: "Prisma's migrations, at their end",
        startup: &[],
        sends: &[
            (By::Query, "BEGIN"),
            (By::Unnamed, "SELECT pg_advisory_lock(72707369)"),
            (By::Unnamed, "SELECT pg_advisory_unlock(72707369)"),
            (By::Query, "COMMIT"),
        ],
        // Only `pin` asks whether there is a lock.
        leaves: Some("lock"),
        finds: (
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
            "0",
        ),
    },
    Habit {
        of: "GoodJob",
        startup: UTF8,
        sends: &[
            (By::Query, "LISTEN good_job"),
            (
                By::Unnamed,
                "WITH \"rows\" AS MATERIALIZED (SELECT 1 AS id) SELECT id FROM \"rows\" WHERE \
                 pg_try_advisory_lock(('x' || substr(md5('good_jobs-' || id::text), 1, 16))\
                 ::bit(64)::bigint)",
            ),
        ],
        leaves: Some("listen,lock"),
        finds: ("select pg_listening_channels()", "good_job"),
    },
];

fn connect(pooler: &Pooler, habit: &Habit) -> Client {
    let login = Login {
        user: APP.name,
        password: APP.password,
        database: "app",
        parameters: habit.startup,
    };
    Client::attempt(pooler.port, &login).unwrap_or_else(|e| panic!("{}: {e:?}", habit.of))
}

/// Sends all of it, and gives the code of the first error.
fn run(client: &mut Client, habit: &Habit) -> Option<String> {
    let mut first = None;
    for (number, (by, sql)) in habit.sends.iter().enumerate() {
        let name = format!("pdo_stmt_{number:08}");
        let trips = match by {
            By::Query => vec![wire::query(sql)],
            By::Unnamed => {
                let parts =
                    [wire::parse("", sql), wire::bind("", &[]), wire::execute(), wire::sync()];
                vec![parts.concat()]
            }
            By::Pdo => {
                let run = [wire::bind(&name, &[]), wire::execute(), wire::sync()];
                let parse = [wire::parse(&name, sql), wire::sync()];
                vec![parse.concat(), run.concat(), wire::query(&format!("DEALLOCATE {name}"))]
            }
        };
        for bytes in trips {
            client.wire.send(&bytes);
            if let Err(failure) = client.answer() {
                first.get_or_insert(failure.code().to_owned());
            }
        }
    }
    first
}

#[test]
fn what_programs_leave_is_their_own() {
    for policy in ["reset", "pin", "error"] {
        let pooler = setup(policy).start();
        for habit in HABITS {
            let name = format!("{} under {policy}", habit.of);
            let mut client = connect(&pooler, habit);
            let refused = run(&mut client, habit);
            let pinned = pooler.shown("SHOW PINS", "database", "app", "left");
            let (is_error, is_pin) = (policy == "error", policy == "pin");
            let has_left = habit.leaves.filter(|_| habit.finds.1 != "0");
            assert_eq!(
                refused.is_some(),
                is_error && habit.leaves.is_some(),
                "{name}: {refused:?}"
            );
            assert_eq!(pinned.as_deref(), has_left.filter(|_| is_pin), "{name}");
            if is_pin || habit.leaves.is_none() {
                assert_eq!(client.one(habit.finds.0), habit.finds.1, "{name}");
            }
            if is_error && habit.leaves.is_some() {
                let _ = client.query("rollback");
            }
            drop(client);
            assert_eq!(pooler.client().one(INSPECT), CLEAN, "{name}");
        }
    }
}

/// GoodJob and others wait idle for what a NOTIFY brings.
#[test]
fn who_is_pinned_for_a_channel_hears_of_it_while_idle() {
    let pooler = setup("pin").start();
    let mut client = pooler.client();
    client.query("LISTEN good_job").expect("a LISTEN");
    Postgres::shared().session("app").query("NOTIFY good_job, 'wake up'").expect("a NOTIFY");
    let message = client.wire.hear().expect("a notification");
    assert_eq!(message.kind, b'A', "{message:?}");
    assert!(message.body.ends_with(b"good_job\0wake up\0"), "{message:?}");
}

/// A client whose process is killed while it holds a lock, or waits for one, leaves it to nobody.
#[test]
fn a_lock_of_a_client_that_is_killed_is_free() {
    for policy in ["reset", "pin"] {
        let pooler = setup(policy).set("default_pool_size", "2").start();
        let mut holder = pooler.client();
        holder.query("BEGIN; SELECT pg_advisory_lock(7)").expect("a lock");
        let mut waiter = pooler.client();
        waiter.wire.send(&wire::query("SELECT pg_advisory_lock(7), 'waits'"));
        Postgres::shared().await_query("'waits'");
        drop((waiter, holder));
        eventually("a free lock", || {
            let sql = "select count(*) from pg_locks where locktype = 'advisory' and objid = 7";
            (Postgres::shared().one(sql) == "0").then_some(())
        });
        for _ in 0..2 {
            assert_eq!(pooler.client().one(INSPECT), CLEAN, "{policy}");
        }
    }
}
