//! Prepared statements in the built program with a real PostgreSQL, message by message: tables that
//! change under a statement, names that are not there, broken packets, and what all of it costs.
//! Real drivers stand in `clients`.

mod support;

use support::host::cpu_ticks;
use support::wire::{self, Message};
use support::{Client, Pooler, Postgres, Setup};

/// Clients of a pool of so many servers.
fn pool_of(size: usize) -> Pooler {
    Setup::new().set("default_pool_size", &size.to_string()).start()
}

/// Bind, Describe of the portal, Execute: a use by a client that asks for the columns.
fn use_described(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), wire::message(b'D', b"P\0"), wire::execute()].concat()
}

/// The same by a client that knows the columns from an earlier Describe.
fn use_known(name: &str) -> Vec<u8> {
    [wire::bind(name, &[]), wire::execute()].concat()
}

fn close(name: &str) -> Vec<u8> {
    wire::message(b'C', format!("S{name}\0").as_bytes())
}

/// Sends messages and a Sync; gives the answers up to ReadyForQuery.
fn ask(client: &mut Client, messages: &[u8]) -> Vec<Message> {
    client.wire.send(&[messages, &wire::sync()].concat());
    client.wire.hear_until_ready().expect("answers")
}

/// The same, of which only the kinds are of interest.
fn ask_kinds(client: &mut Client, messages: &[u8]) -> String {
    kinds(&ask(client, messages))
}

fn kinds(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.kind)).collect()
}

/// Tables that change after a statement was prepared for them.
mod outlived {
    use super::*;

    /// A table of this name with one row of one column.
    fn create(name: &str) {
        let sql = format!(
            "create table {name} (a int); insert into {name} values (1); \
                           grant select on {name} to public"
        );
        Postgres::shared().session("app").query(&sql).expect("a new table");
    }

    /// The table has one column more.
    fn alter(name: &str, column: &str) {
        let sql = format!("alter table {name} add column {column} int");
        Postgres::shared().session("app").query(&sql).expect("one column more");
    }

    fn select(name: &str) -> Vec<u8> {
        wire::parse("s", &format!("select * from {name}"))
    }

    /// The error that PostgreSQL has for a session of its own.
    fn error_of_postgres(table: &str) -> Message {
        create(table);
        let mut session = Postgres::shared().session("app");
        ask(&mut session, &[select(table), use_known("s")].concat());
        alter(table, "b");
        let answer = ask(&mut session, &use_known("s"));
        assert_eq!(kinds(&answer), "EZ");
        assert_eq!(answer[0].field('C').as_deref(), Some("0A000"));
        answer[0].clone()
    }

    /// A client that has prepared and used a statement of a table that has changed since.
    fn surprised(pooler: &Pooler, table: &str) -> Client {
        create(table);
        let mut client = pooler.client();
        assert_eq!(ask_kinds(&mut client, &[select(table), use_described("s")].concat()), "12TDCZ");
        alter(table, "b");
        client
    }

    fn columns(row: &Message) -> usize {
        row.values().len()
    }

    #[test]
    fn a_query_that_stood_alone_is_sent_once_more() {
        let pooler = pool_of(1);
        let mut client = surprised(&pooler, "alone");
        let mut other = pooler.client();
        assert_eq!(ask_kinds(&mut other, &select("alone")), "1Z");
        for column in ["c", "d", "e"] {
            for client in [&mut client, &mut other] {
                let answer = ask(client, &use_described("s"));
                assert_eq!(kinds(&answer), "2TDCZ", "{answer:?}");
                let again = ask(client, &use_described("s"));
                assert_eq!(again, answer);
            }
            alter("alone", column);
        }
        let answer = ask(&mut client, &use_described("s"));
        assert_eq!(columns(&answer[2]), 5, "the columns as they are now");
    }

    #[test]
    fn the_description_of_a_statement_is_asked_for_once_more() {
        let pooler = pool_of(1);
        let mut client = surprised(&pooler, "described");
        let ask_statement = [wire::describe_statement("s"), use_known("s")].concat();
        let answer = ask(&mut client, &ask_statement);
        assert_eq!(kinds(&answer), "tT2DCZ");
        assert_eq!(columns(&answer[3]), 2);
        alter("described", "c");
        // As a driver prepares. The pooler has answered the Parse when the error comes.
        let mut other = pooler.client();
        let prepare = [select("described"), wire::describe_statement("s")].concat();
        assert_eq!(ask_kinds(&mut other, &prepare), "1tTZ");
        alter("described", "d");
        // Closing another statement and preparing the same again come before it.
        let more = [close("nosuch"), select("described"), use_described("s")].concat();
        assert_eq!(ask_kinds(&mut other, &more), "312TDCZ");
    }

    /// As asyncpg and postgres.js prepare: the Sync comes when the answers are there.
    #[test]
    fn a_query_whose_sync_is_yet_to_come_is_sent_once_more() {
        let pooler = pool_of(1);
        drop(surprised(&pooler, "flushed"));
        let mut client = pooler.client();
        let prepare = [select("flushed"), wire::describe_statement("s"), wire::flush()].concat();
        client.wire.send(&prepare);
        let answer = client.wire.hear_until(|m| m.kind == b'T').expect("a description");
        assert_eq!(kinds(&answer), "1tT");
        assert_eq!(ask_kinds(&mut client, &use_known("s")), "2DCZ");
        alter("flushed", "c");
        client.wire.send(&[use_described("s"), wire::flush()].concat());
        let answer = client.wire.hear_until(|m| m.kind == b'C').expect("a row");
        assert_eq!(kinds(&answer), "2TDC");
        assert_eq!(ask_kinds(&mut client, &[]), "Z");
        assert_eq!(client.one("select 'well'"), "well");
    }

    #[test]
    fn in_a_transaction_the_error_passes_and_the_next_use_works() {
        let pooler = pool_of(1);
        let expected = error_of_postgres("in_transaction_alone");
        let mut client = surprised(&pooler, "in_transaction");
        client.query("begin").expect("a transaction");
        let answer = ask(&mut client, &use_described("s"));
        assert_eq!(kinds(&answer), "EZ");
        assert_eq!((&answer[0], &answer[1].body[..]), (&expected, &b"E"[..]));
        client.query("rollback").expect("its end");
        client.query("begin").expect("a transaction");
        assert_eq!(ask_kinds(&mut client, &use_described("s")), "2TDCZ");
        client.query("commit").expect("its end");
    }

    /// It would take the new rows for rows of the old columns.
    #[test]
    fn whoever_knows_the_old_columns_is_told_and_the_next_use_works() {
        let pooler = pool_of(1);
        let expected = error_of_postgres("known_alone");
        let mut clients = [surprised(&pooler, "known"), pooler.client(), pooler.client()];
        for client in &mut clients[1..] {
            let table = "known";
            assert_eq!(ask_kinds(client, &select(table)), "1Z");
        }
        for client in &mut clients {
            let answer = ask(client, &use_known("s"));
            assert_eq!(kinds(&answer), "EZ");
            assert_eq!((&answer[0], &answer[1].body[..]), (&expected, &b"I"[..]));
            assert_eq!(ask_kinds(client, &use_known("s")), "2DCZ");
        }
    }

    #[test]
    fn in_a_pipeline_the_error_passes_and_what_follows_works() {
        let pooler = pool_of(1);
        let expected = error_of_postgres("pipeline_alone");
        let mut client = surprised(&pooler, "pipeline");
        let one = [use_described("s"), wire::sync()].concat();
        client.wire.send(&[&one[..], &one].concat());
        let first = client.wire.hear_until_ready().expect("an error");
        assert_eq!((kinds(&first).as_str(), &first[0]), ("EZ", &expected));
        // It was under way to the statement as it was.
        let second = client.wire.hear_until_ready().expect("an error");
        assert_eq!((kinds(&second).as_str(), &second[0]), ("EZ", &expected));
        assert_eq!(ask_kinds(&mut client, &use_described("s")), "2TDCZ");
        // The error skips what was sent behind it, as everything that fails does.
        alter("pipeline", "c");
        let two = [use_described("s"), use_described("s")].concat();
        assert_eq!(ask_kinds(&mut client, &two), "2TDC2TDCZ", "one transaction is sent again");
    }

    #[test]
    fn other_clients_and_other_servers_are_no_worse_off() {
        let pooler = pool_of(3);
        let mut clients: Vec<Client> = (0..6).map(|_| pooler.client()).collect();
        create("others");
        let one = [use_described("s"), wire::sync()].concat();
        let prepare = [select("others"), wire::sync()].concat();
        let all = |clients: &mut Vec<Client>, bytes: &[u8], kinds_of_each: &str| {
            for client in clients.iter_mut() {
                client.wire.send(bytes);
            }
            for client in clients {
                let answer = client.wire.hear_until_ready().expect("answers");
                assert_eq!(kinds(&answer), kinds_of_each);
            }
        };
        all(&mut clients, &prepare, "1Z");
        for column in ["b", "c", "d", "e"] {
            all(&mut clients, &one, "2TDCZ");
            all(&mut clients, &one, "2TDCZ");
            alter("others", column);
        }
        all(&mut clients, &one, "2TDCZ");
        // A name for every client and one more for each change, at most.
        let texts = pooler.shown("show mem", "name", "server_prepared_statement_cache", "used");
        let texts: usize = texts.expect("a row").parse().expect("a number");
        assert!((1..=5).contains(&texts), "{texts} texts");
    }
}

/// Messages that no driver sends.
mod hostile {
    use super::*;

    /// Sends this as a client of its own; gives all that comes until the pooler hangs up.
    fn last_words(pooler: &Pooler, what: &str, bytes: &[u8]) -> Message {
        let mut client = pooler.client();
        client.wire.send(bytes);
        let mut words = client.wire.hear_to_the_end();
        words.pop().unwrap_or_else(|| panic!("{what}: no last words"))
    }

    fn assert_ends(pooler: &Pooler, what: &str, bytes: &[u8], words: &str, log: &str) {
        let last = last_words(pooler, what, bytes);
        let said = ['S', 'C', 'M'].map(|field| last.field(field).unwrap_or_default());
        assert_eq!(said, ["FATAL", "08P01", words], "{what}");
        pooler.wait_log(&[log]);
        // The one server is there for the next.
        assert_eq!(pooler.client().one("select 'well'"), "well", "after {what}");
    }

    #[test]
    fn broken_messages_end_their_client_and_trouble_nobody() {
        let pooler = pool_of(1);
        let failed = "failed to parse packet";
        let cases: [(&str, u8, &[u8], &str); 9] = [
            ("an empty Parse", b'P', b"", failed),
            ("a Parse of an endless name", b'P', b"abc", failed),
            ("a Parse without text", b'P', b"abc\0", "broken Parse packet"),
            ("a Parse without types", b'P', b"abc\0select 1\0", "broken Parse packet"),
            ("a Parse with too few types", b'P', b"abc\0select 1\0\0\x01\0", "broken Parse packet"),
            ("a Bind of an endless name", b'B', b"\0abc", failed),
            ("a Describe of an endless name", b'D', b"Sabc", failed),
            ("an empty Describe", b'D', b"", failed),
            ("a Close of an endless name", b'C', b"Sabc", failed),
        ];
        for (what, kind, body, words) in cases {
            let kind_in_log = format!("packet type '{}'", char::from(kind));
            let log = if words == failed { &kind_in_log } else { "closing because: broken Parse" };
            let bytes = [wire::message(kind, body), wire::sync()].concat();
            assert_ends(&pooler, what, &bytes, words, log);
        }
    }

    #[test]
    fn names_that_are_not_there_or_there_already_end_their_client() {
        let pooler = pool_of(1);
        let words = "prepared statement did not exist";
        for (what, bytes) in
            [("Bind", wire::bind("never", &[])), ("Describe", wire::describe_statement("never"))]
        {
            let log = "prepared statement 'never' not found";
            assert_ends(&pooler, what, &[bytes, wire::sync()].concat(), words, log);
        }
        let first = [wire::parse("taken", "select 1"), wire::sync()].concat();
        let second = [wire::parse("taken", "select 2"), wire::sync()].concat();
        let words = "prepared statement name is already in use";
        let log = "prepared statement 'taken' was already prepared";
        assert_ends(&pooler, "Parse", &[first, second].concat(), words, log);
        // The types of parameters are part of a statement.
        let typed = wire::message(b'P', b"typed\0select $1\0\0\x01\0\0\0\x17");
        let untyped = [wire::parse("typed", "select $1"), wire::sync()].concat();
        let log = "prepared statement 'typed' was already prepared";
        assert_ends(&pooler, "Parse", &[typed, untyped].concat(), words, log);
    }

    /// Whatever is missing, the client gets an error or is hung up on, and nobody waits.
    #[test]
    fn messages_cut_at_every_byte_are_answered() {
        let pooler = pool_of(1);
        let mut witness = pooler.client();
        assert_eq!(ask_kinds(&mut witness, &wire::parse("s", "select $1::text")), "1Z");
        let whole = [
            wire::message(b'P', b"cut\0select $1::text\0\0\x01\0\0\0\x19"),
            wire::bind("s", &["a value"]),
            wire::describe_statement("s"),
            close("s"),
        ];
        for message in whole {
            let (kind, body) = (message[0], &message[5..]);
            for cut in 0..body.len() {
                let mut client = pooler.client();
                client.wire.send(&[wire::parse("s", "select $1::text"), wire::sync()].concat());
                client.wire.hear_until_ready().expect("a statement");
                client.wire.send(&wire::message(kind, &body[..cut]));
                client.wire.send(&wire::sync());
                let end = client.wire.hear_until(|m| matches!(m.kind, b'E' | b'Z'));
                let end =
                    end.unwrap_or_else(|e| panic!("{} cut at {cut}: {e:?}", char::from(kind)));
                assert_eq!(end.last().map(|m| m.kind), Some(b'E'), "{end:?} cut at {cut}");
            }
            let row = ask(&mut witness, &[wire::bind("s", &["mine"]), wire::execute()].concat());
            assert_eq!(kinds(&row), "2DCZ");
            assert_eq!(row[1].values(), [Some("mine".to_owned())]);
        }
    }

    #[test]
    fn a_name_of_64_kilobytes_is_a_name() {
        let pooler = pool_of(2);
        let name = "n".repeat(64 * 1024);
        let mut client = pooler.client();
        let all = [
            wire::parse(&name, "select 'long'"),
            wire::describe_statement(&name),
            wire::bind(&name, &[]),
            wire::execute(),
        ];
        let answer = ask(&mut client, &all.concat());
        assert_eq!(kinds(&answer), "1tT2DCZ");
        assert_eq!(answer[4].values(), [Some("long".to_owned())]);
        assert_eq!(ask_kinds(&mut client, &close(&name)), "3Z");
        let used = [wire::bind(&name, &[]), wire::execute(), wire::sync()].concat();
        let words = "prepared statement did not exist";
        assert_ends(&pooler, "a long name", &used, words, "prepared statement 'nnnn");
        let longest = pooler.log().lines().map(str::len).max();
        assert!(longest.is_some_and(|length| length < 1000), "a line of {longest:?} bytes");
        // Names that no end is seen of are not waited for.
        let endless = wire::message(b'B', &[&[0], &[b'n'; 1024 * 1024][..]].concat());
        let log = "packet type 'B'";
        assert_ends(&pooler, "an endless name", &endless, "failed to parse packet", log);
    }

    #[test]
    fn one_pipeline_may_close_a_name_and_prepare_it_anew() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        let prepare = |text: &str| wire::parse("s", &format!("select '{text}'"));
        let run = use_known("s");
        let twice = [prepare("one"), run.clone(), close("s"), prepare("two"), run.clone()].concat();
        let answer = ask(&mut client, &twice);
        assert_eq!(kinds(&answer), "12DC312DCZ");
        assert_eq!(answer[2].values(), [Some("one".to_owned())]);
        assert_eq!(answer[7].values(), [Some("two".to_owned())]);
        // What an error skips has not happened: neither the Close nor the Parse behind it.
        let bad = wire::parse("", "no such thing");
        let skipped = [bad, close("s"), prepare("three"), run.clone()].concat();
        assert_eq!(ask_kinds(&mut client, &skipped), "EZ");
        assert_eq!(ask(&mut client, &run)[1].values(), [Some("two".to_owned())]);
        // Closing what is not there is no error, once or twice.
        let closes = [close("s"), close("s"), close("never"), prepare("four"), run].concat();
        let answer = ask(&mut client, &closes);
        assert_eq!(kinds(&answer), "33312DCZ");
        assert_eq!(answer[5].values(), [Some("four".to_owned())]);
    }

    #[test]
    fn a_statement_may_be_larger_than_any_buffer() {
        const SIZE: usize = 8 * 1024 * 1024;
        let pooler = pool_of(2);
        let mut clients = [pooler.client(), pooler.client()];
        let text = format!("select length('{}')", "x".repeat(SIZE));
        for client in &mut clients {
            let answer = ask(client, &[wire::parse("big", &text), use_known("big")].concat());
            assert_eq!(kinds(&answer), "12DCZ");
            assert_eq!(answer[2].values(), [Some(SIZE.to_string())]);
        }
        // Both servers get it, each when a client needs it there: the first is kept busy.
        clients[0].query("begin").expect("a transaction");
        for client in &mut clients {
            let answer = ask(client, &use_described("big"));
            assert_eq!(kinds(&answer), "2TDCZ");
            assert_eq!(answer[2].values(), [Some(SIZE.to_string())]);
        }
        clients[0].query("commit").expect("its end");
        let shown =
            |column| pooler.shown("show mem", "name", "server_prepared_statement_cache", column);
        let (used, size) = (shown("used").expect("a row"), shown("size").expect("a row"));
        assert_eq!(used, "1", "a text is kept once");
        assert!(
            size.parse::<usize>().is_ok_and(|size| size > SIZE && size < SIZE + 1000),
            "{size}"
        );
    }
}

/// Clients that prepare the unnamed statement and bind it later.
mod unnamed {
    use super::*;

    fn describe() -> Vec<u8> {
        wire::message(b'D', b"S\0")
    }

    fn prepare(client: &mut Client, text: &str) {
        let kinds = ask_kinds(client, &[wire::parse("", text), describe()].concat());
        assert!(matches!(kinds.as_str(), "1tTZ" | "1tnZ"), "{kinds}");
    }

    /// Prepares and runs in one go.
    fn run(client: &mut Client, text: &str) {
        let answer = ask_kinds(client, &[wire::parse("", text), use_known("")].concat());
        assert!(answer.starts_with("12"), "{answer}");
    }

    /// What the unnamed statement gives: a value, a tag, or an SQLSTATE.
    fn result(client: &mut Client) -> String {
        let answer = ask(client, &use_known(""));
        let told = answer.iter().find_map(|message| match message.kind {
            b'D' => message.values().into_iter().next().flatten(),
            b'E' => message.field('C'),
            _ => None,
        });
        told.unwrap_or_else(|| kinds(&answer))
    }

    fn pools() -> [Pooler; 2] {
        ["200", "0"].map(|tracked| {
            let setup = Setup::new().set("default_pool_size", "1");
            setup.set("max_prepared_statements", tracked).start()
        })
    }

    #[test]
    fn each_client_runs_its_own() {
        for pooler in pools() {
            let (mut a, mut b) = (pooler.client(), pooler.client());
            for _ in 0..2 {
                prepare(&mut a, "select 'of a'");
                run(&mut b, "select 'of b'");
                assert_eq!(result(&mut a), "of a");
                assert_eq!(result(&mut a), "of a", "it is there for more than one use");
                prepare(&mut b, "select 'again of b'");
                assert_eq!(result(&mut a), "of a");
                assert_eq!(result(&mut b), "again of b");
            }
            b.query("select 'a simple query takes away what the server has'").expect("an answer");
            assert_eq!(result(&mut a), "of a");
            let described = ask_kinds(&mut b, &describe());
            assert_eq!(described, "EZ", "its own simple query has taken it away");
        }
    }

    #[test]
    fn what_a_client_does_not_have_it_does_not_find() {
        for pooler in pools() {
            let (mut a, mut b) = (pooler.client(), pooler.client());
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "26000", "it has never had one");
            prepare(&mut a, "select 'of a'");
            a.query("select 1").expect("an answer");
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "26000", "its simple query has taken it away");
            prepare(&mut a, "select 'of a'");
            ask(&mut a, &wire::message(b'C', b"S\0"));
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "26000", "it has closed it");
            prepare(&mut a, "select 'of a'");
            assert_eq!(ask_kinds(&mut a, &wire::parse("", "selec")), "EZ");
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "26000", "a Parse that fails leaves none");
            let long = format!("select '{}'", "x".repeat(9000));
            prepare(&mut a, &long);
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "26000", "a long one is not kept");
        }
    }

    /// A Parse that the server passes over leaves what was there, be it another's.
    #[test]
    fn a_parse_that_was_skipped_gives_nothing_away() {
        for pooler in pools() {
            let (mut a, mut b) = (pooler.client(), pooler.client());
            prepare(&mut a, "select 'of a'");
            run(&mut b, "select 'of b'");
            a.query("begin").expect("a transaction");
            a.query("rollback").expect("its end");
            let failing = [wire::message(b'E', b"nosuch\0\0\0\0\0"), wire::parse("", "select 2")];
            assert_eq!(ask_kinds(&mut a, &failing.concat()), "EZ");
            assert_eq!(result(&mut a), "26000");
        }
    }

    /// Several messages in a transaction stay on one server, and nothing is prepared again.
    #[test]
    fn in_a_transaction_it_stays_where_it_is() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        let parses = || pooler.shown("show stats", "database", "app", "total_server_parse_count");
        let before = parses();
        client.query("begin").expect("a transaction");
        for n in 0..3 {
            prepare(&mut client, &format!("select '{n}'"));
            assert_eq!(result(&mut client), n.to_string());
        }
        client.query("commit").expect("its end");
        assert_eq!(parses(), before);
    }
}

/// What a client's names may cost, and how many it may have.
mod limits {
    use super::*;

    /// What has come of a long message is neither copied nor read again for each piece.
    #[test]
    fn a_long_parse_that_comes_in_small_pieces_slows_nobody() {
        const SIZE: usize = 24 << 20;
        const PIECES: usize = 300;
        let pooler = pool_of(2);
        let mut other = pooler.client();
        let mut client = pooler.client();
        let text = format!("select length('{}')", "x".repeat(SIZE));
        let whole = [wire::parse("long", &text), use_known("long"), wire::sync()].concat();
        client.wire.send(&whole[..SIZE - PIECES]);
        other.query("select 1").expect("an answer beside it");
        let before = cpu_ticks(pooler.pid);
        for at in SIZE - PIECES..SIZE {
            client.wire.send(&whole[at..at + 1]);
            other.query("select 1").expect("an answer beside it");
        }
        // Ticks of 10 ms; to copy so much takes at least one for each piece.
        let used = cpu_ticks(pooler.pid) - before;
        assert!(used < PIECES as u64 / 2, "{PIECES} pieces took {used} ticks");
        client.wire.send(&whole[SIZE..]);
        let answer = client.wire.hear_until_ready().expect("answers");
        assert_eq!(kinds(&answer), "12DCZ");
    }

    const NAMES: usize = 10_000;

    /// Ten thousand names for one text, each of 8 bytes.
    fn prepare_all(client: &mut Client) {
        for thousand in 0..NAMES / 1000 {
            let name = |n: usize| format!("{:08}", thousand * 1000 + n);
            let all = (0..1000).map(|n| wire::parse(&name(n), "select 1"));
            let answer = ask(client, &all.collect::<Vec<_>>().concat());
            assert_eq!(answer.len(), 1001);
        }
    }

    #[test]
    fn a_name_costs_no_more_than_64_bytes_beside_its_text() {
        const CLIENTS: usize = 20;
        let pooler = pool_of(1);
        // What one client needs for its first names is not what names cost.
        prepare_all(&mut pooler.client());
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| pooler.client()).collect();
        let before = pooler.resident_kb();
        clients.iter_mut().for_each(prepare_all);
        let grown = pooler.resident_kb().saturating_sub(before) as usize * 1024;
        let each = grown / (CLIENTS * NAMES);
        assert!(each <= 64 + 8, "a name of 8 bytes costs {each} bytes");
        let shown = |column| {
            let row = pooler.shown("show mem", "name", "client_prepared_statement_cache", column);
            row.expect("a row").parse::<usize>().expect("a number")
        };
        assert_eq!(shown("used"), CLIENTS * NAMES);
        assert!((32..=64 + 8).contains(&shown("size")), "{}", shown("size"));
        assert_eq!(
            pooler.shown("show clients", "user", "app", "prepared_statements"),
            Some(NAMES.to_string())
        );
    }

    #[test]
    fn a_client_with_too_many_statements_is_told_which_limit_it_meets() {
        let pooler = Setup::new().set("max_client_prepared_statements", "5").start();
        let mut client = pooler.client();
        let prepare = |n: usize| wire::parse(&format!("s{n}"), "select 1");
        let five = (0..5).map(prepare).collect::<Vec<_>>().concat();
        assert_eq!(ask_kinds(&mut client, &five), "11111Z");
        assert_eq!(ask_kinds(&mut client, &prepare(3)), "1Z", "a name that is there is no new one");
        assert_eq!(ask_kinds(&mut client, &[close("s0"), prepare(5)].concat()), "31Z");
        assert_eq!(ask_kinds(&mut client, &wire::parse("", "select 1")), "1Z");
        client.wire.send(&[prepare(6), wire::sync()].concat());
        let words = client.wire.hear_to_the_end();
        let last = words.last().expect("last words");
        let said = ['S', 'C', 'M', 'D'].map(|field| last.field(field).unwrap_or_default());
        let detail = "max_client_prepared_statements is 5.";
        assert_eq!(said, ["FATAL", "54000", "too many prepared statements", detail]);
        assert_eq!(pooler.client().one("select 'well'"), "well");
    }

    /// How many statements the one server has, by its own word.
    fn on_the_server(client: &mut Client) -> usize {
        let sql = "select count(*) from pg_prepared_statements where name like 'PGBOUNCER%'";
        client.one(sql).parse().expect("a count")
    }

    #[test]
    fn a_server_keeps_so_many_and_a_reload_or_set_changes_how_many() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        let text = |n: usize| format!("select {n}");
        let prepare = |n: usize| wire::parse(&format!("s{n}"), &text(n));
        let fifty = (0..50).map(prepare).collect::<Vec<_>>().concat();
        ask(&mut client, &fifty);
        assert_eq!(on_the_server(&mut client), 50);
        let set = |value: &str| {
            let sql = format!("set max_prepared_statements = {value}");
            pooler.console().query(&sql).expect("a console that takes it");
        };
        set("7");
        // The next one that needs room makes as much as the limit wants.
        ask(&mut client, &wire::parse("more", "select 'more'"));
        assert_eq!(on_the_server(&mut client), 7);
        for n in [0, 20, 49] {
            let answer = ask(&mut client, &use_known(&format!("s{n}")));
            assert_eq!(answer[1].values(), [Some(n.to_string())], "it is prepared again");
        }
        assert_eq!(on_the_server(&mut client), 7);
        let held = pooler.shown("show servers", "database", "app", "prepared_statements");
        assert_eq!(held.as_deref(), Some("7"));
        pooler.rewrite(|setup| setup.set("max_prepared_statements", "30"));
        pooler.console().query("reload").expect("a reload");
        for n in 0..50 {
            ask(&mut client, &use_known(&format!("s{n}")));
        }
        assert_eq!(on_the_server(&mut client), 30);
        // Off: names are the client's own business, and the server's.
        set("0");
        let mut other = pooler.client();
        assert_eq!(ask_kinds(&mut other, &wire::parse("plain", "select 1")), "1Z");
        assert_eq!(
            other.one("select count(*) from pg_prepared_statements where name = 'plain'"),
            "1"
        );
    }
}
