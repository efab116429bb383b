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

/// What the pooler answers itself, more of it in one stretch than may be under way at a server. No
/// server speaks of it, so that nothing but the pooler can go on with what follows.
mod answered_here {
    use super::*;

    /// More than fits into any of the pooler's queues.
    const MANY: usize = 5000;

    /// Sends what is to be answered in so many messages, and gives the server back.
    fn expect_answers(pooler: &Pooler, before: &[&str], messages: &[u8], count: usize) {
        let mut client = pooler.client();
        for sql in before {
            client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
        client.wire.send(messages);
        let answers = client.wire.hear_until_ready().expect("answers to all of it");
        assert_eq!(answers.len(), count);
        drop(client);
        assert_eq!(pooler.client().one("select 'next'"), "next");
    }

    #[test]
    fn many_closes_behind_nothing_else_are_all_answered() {
        let pooler = pool_of(1);
        let closes = close("x").repeat(MANY);
        let all = [&closes, &wire::sync()[..]].concat();
        expect_answers(&pooler, &["begin"], &all, MANY + 1);
        // Rows: description, row, tag, ReadyForQuery.
        let all = [&closes, &wire::query("select 1")[..]].concat();
        expect_answers(&pooler, &["begin"], &all, MANY + 4);
    }

    #[test]
    fn many_closes_behind_what_the_server_keeps_to_itself_are_all_answered() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        assert_eq!(ask_kinds(&mut client, &wire::parse("a", "select 7")), "1Z");
        let closes = close("x").repeat(MANY);
        client.wire.send(&[&use_known("a"), &closes, &wire::sync()[..]].concat());
        let answers = client.wire.hear_until_ready().expect("answers to all of it");
        assert_eq!(kinds(&answers), format!("2DC{}Z", "3".repeat(MANY)));
    }

    #[test]
    fn the_same_texts_under_many_names_are_all_answered() {
        let pooler = pool_of(1);
        let parses: Vec<u8> = (0..MANY)
            .flat_map(|number| {
                wire::parse(&format!("m{number}"), &format!("select {}", number % 50))
            })
            .collect();
        expect_answers(&pooler, &[], &[&parses, &wire::sync()[..]].concat(), MANY + 1);
    }

    #[test]
    fn a_deallocate_behind_a_close_does_not_wait_for_the_server() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        assert_eq!(ask_kinds(&mut client, &wire::parse("a", "select 7")), "1Z");
        client.query("begin").expect("BEGIN");
        client.wire.send(&[close("x"), wire::query("deallocate a")].concat());
        let answers = client.wire.hear_until_ready().expect("answers to both");
        assert_eq!(kinds(&answers), "3CZ");
    }

    #[test]
    fn a_deallocate_behind_an_extended_query_without_its_sync_ends_that() {
        let pooler = pool_of(1);
        let mut client = pooler.client();
        for (before, status) in [("select 1", b"I"), ("begin", b"T")] {
            client.query(before).expect("an answer");
            assert_eq!(ask_kinds(&mut client, &wire::parse("a", "select 7")), "1Z");
            client.wire.send(&[use_known("a"), wire::query("deallocate a")].concat());
            let answers = client.wire.hear_until_ready().expect("answers to both");
            assert_eq!(kinds(&answers), "2DCCZ");
            assert_eq!(answers.last().map(|ready| &ready.body[..]), Some(&status[..]));
            assert_eq!(ask_kinds(&mut client, &use_known("a")), "EZ", "it is gone");
        }
        client.query("rollback").expect("ROLLBACK");
        // Behind an error it is passed over, as everything is up to a Sync.
        assert_eq!(ask_kinds(&mut client, &wire::parse("a", "select 1 / $1::int")), "1Z");
        let fails = [wire::bind("a", &["0"]), wire::execute()].concat();
        client.wire.send(&[fails, wire::query("deallocate a"), wire::sync()].concat());
        let answers = client.wire.hear_until_ready().expect("one error");
        assert_eq!(kinds(&answers), "EZ");
        assert_eq!(ask_kinds(&mut client, &wire::bind("a", &["1"])), "2Z");
    }
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
        client.wire.send(&used);
        let answer = client.wire.hear_until_ready().expect("an error");
        assert_eq!((kinds(&answer), answer[0].field('C')), ("EZ".into(), Some("26000".into())));
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

/// Names of statements and portals that are used as they must not be, and what drops them: a client
/// hears what PostgreSQL would have told it.
mod names {
    use super::*;

    /// What came, in words: kind, and what is of interest of it.
    fn told(message: &Message) -> String {
        match message.kind {
            b'E' => ['S', 'C', 'M'].map(|f| message.field(f).unwrap_or_default()).join(" "),
            b'D' => format!("{:?}", message.values()),
            b'Z' | b'C' => format!("{} {}", char::from(message.kind), message.text()),
            kind => char::from(kind).to_string(),
        }
    }

    /// Sends each part when the part before it is answered. A part ends in Sync or Query.
    fn play(client: &mut Client, parts: &[Vec<u8>]) -> Vec<String> {
        let mut all = Vec::new();
        for part in parts {
            client.wire.send(part);
            for _ in 0..count_of_ends(part) {
                let answer = client.wire.hear_until_ready();
                all.extend(answer.expect("an answer").iter().map(told));
            }
        }
        all
    }

    fn count_of_ends(mut messages: &[u8]) -> usize {
        let mut count = 0;
        while let [kind, rest @ ..] = messages {
            count += usize::from(matches!(kind, b'Q' | b'S'));
            let length = u32::from_be_bytes(rest[..4].try_into().expect("a length")) as usize;
            messages = &rest[length..];
        }
        count
    }

    fn parts(parts: &[&[Vec<u8>]]) -> Vec<Vec<u8>> {
        parts.iter().map(|messages| messages.concat()).collect()
    }

    fn assert_same(what: &str, messages: &[&[Vec<u8>]]) {
        let pooler = pool_of(1);
        let messages = parts(messages);
        let expected = play(&mut Postgres::shared().session("app"), &messages);
        let mut client = pooler.client();
        assert_eq!(play(&mut client, &messages), expected, "{what}");
        // Once more, with what the first client has left on the server.
        let mut other = pooler.client();
        assert_eq!(play(&mut other, &messages), expected, "{what}, by another client");
        for client in [&mut client, &mut other] {
            assert_eq!(client.one("select 'well'"), "well", "after {what}");
        }
    }

    fn parse(name: &str, text: &str) -> Vec<u8> {
        wire::parse(name, text)
    }

    fn run(name: &str) -> Vec<u8> {
        use_known(name)
    }

    fn sync() -> Vec<u8> {
        wire::sync()
    }

    fn query(sql: &str) -> Vec<u8> {
        wire::query(sql)
    }

    fn portal(kind: u8, name: &str) -> Vec<u8> {
        match kind {
            b'E' => wire::message(b'E', format!("{name}\0\0\0\0\0").as_bytes()),
            _ => wire::message(kind, format!("P{name}\0").as_bytes()),
        }
    }

    #[test]
    fn an_unknown_or_taken_name_is_an_error_in_its_turn() {
        let never = wire::describe_statement("never");
        assert_same("Describe", &[&[never.clone(), sync()]]);
        assert_same("Bind", &[&[run("never"), sync(), query("select 1")]]);
        let long = wire::message(b'B', &[&b"\0never\0"[..], &[0; 200_000]].concat());
        assert_same("a long Bind", &[&[long, run("never"), sync()]]);
        let taken = [parse("t", "select 1"), sync()];
        assert_same("Parse", &[&taken, &[parse("t", "select 2"), run("t"), sync()]]);
        let bad = [parse("t", "selec"), sync(), run("t"), sync()];
        assert_same("a bad text under a taken name", &[&taken, &bad]);
        let typed = wire::message(b'P', b"y\0select $1\0\0\x01\0\0\0\x17");
        assert_same("other types", &[&[typed, sync()], &[parse("y", "select $1"), sync()]]);
        let failed = [parse("b", "selec"), run("b"), sync(), run("b"), sync()];
        assert_same("a name whose Parse has failed", &[&failed]);
    }

    #[test]
    fn an_error_before_it_and_an_answer_before_it_are_heard() {
        let portal = portal(b'E', "nosuch");
        let never = wire::describe_statement("never");
        let taken = [parse("t", "select 1"), sync()];
        assert_same("an error before Describe", &[&[portal.clone(), never, sync()]]);
        let second = [portal, parse("t", "select 2"), sync(), run("t"), sync()];
        assert_same("an error before Parse", &[&taken, &second]);
        assert_same("a query before Bind", &[&[query("select 1"), run("never"), sync()]]);
        let first = [parse("", "select 1"), run(""), run("never"), parse("", "select 2"), sync()];
        assert_same("more of the same Sync", &[&first]);
        let many: Vec<Vec<u8>> = (0..5).flat_map(|_| [run("never"), sync()]).collect();
        assert_same("several", &[&many]);
    }

    #[test]
    fn a_transaction_fails_of_it() {
        let begin = [query("begin")];
        let end = [query("select 1"), query("rollback")];
        assert_same("an unknown name", &[&begin, &[run("never"), sync()], &end]);
        let taken = [parse("t", "select 1"), sync()];
        let other = [parse("t", "select 2"), sync()];
        assert_same("a taken name", &[&taken, &begin, &other, &end]);
        let sql = "create table undone (a int); grant all on undone to public";
        Postgres::shared().session("app").query(sql).expect("a new table");
        let undone = [parse("", "insert into undone values (1)"), run(""), run("never"), sync()];
        let count = [query("select count(*) from undone")];
        assert_same("what was done before it", &[&undone, &count]);
    }

    #[test]
    fn a_failed_transaction_takes_no_text_but_its_end() {
        let known = [parse("s", "select 1"), parse("r", "rollback"), sync()];
        let failed = [query("begin"), query("select 1/0")];
        let texts = [parse("t", "select 1"), sync()];
        let end = [parse("u", "rollback"), run("u"), sync()];
        assert_same("a text that is there", &[&known, &failed, &texts, &end]);
        assert_same("a use", &[&known, &failed, &[run("s"), sync()], &[run("r"), sync()]]);
    }

    #[test]
    fn what_drops_all_statements_counts_in_its_place() {
        let first = [parse("s", "select 1"), sync()];
        let again = [parse("s", "select 2"), run("s"), sync()];
        for sql in ["deallocate all", "discard all", "/* why */ Deallocate Prepare All -- so"] {
            let simple = [&[query(sql)][..], &again].concat();
            assert_same(sql, &[&first, &simple]);
            let extended = [&[parse("", sql), run(""), sync()][..], &again].concat();
            assert_same(&format!("{sql}, extended"), &[&first, &extended]);
            let named = [&[parse("d", sql), run("d"), sync()][..], &again].concat();
            assert_same(&format!("{sql}, by name"), &[&first, &named]);
        }
        let sql = "select 1; deallocate all";
        assert_same(sql, &[&first, &[&[query(sql)][..], &again].concat()]);
        let long = format!("/*{}*/ deallocate all", "x".repeat(9000));
        assert_same("a long one", &[&first, &[&[query(&long)][..], &again].concat()]);
        let extended = [&[parse("", &long), run(""), sync()][..], &again].concat();
        assert_same("a long one, extended", &[&first, &extended]);
        // Without a Sync between: all of it is one transaction.
        let one = [&[parse("", "deallocate all"), run("")][..], &again].concat();
        assert_same("in one go", &[&first, &one]);
    }

    #[test]
    fn a_cursor_that_another_client_has_left_is_not_there() {
        let pooler = pool_of(1);
        let mut owner = pooler.client();
        owner.query("declare c cursor with hold for select 'of the owner'").expect("a cursor");
        let mut other = pooler.client();
        for kind in [b'E', b'D'] {
            let answer = ask(&mut other, &portal(kind, "c"));
            assert_eq!(kinds(&answer), "EZ");
            assert_eq!(answer[0].field('C').as_deref(), Some("34000"));
            let words = answer[0].field('M').unwrap_or_default();
            assert_eq!(words, "portal \"c\" does not exist");
        }
        assert_eq!(ask_kinds(&mut other, &portal(b'C', "c")), "3Z");
        let fetched = owner.query("fetch c").expect("its own cursor, on the only server");
        assert_eq!(fetched.rows.len(), 1);
    }

    /// No tag tells that statements are gone.
    #[test]
    fn a_server_that_has_lost_a_statement_gets_it_again() {
        let pooler = pool_of(1);
        let (mut one, mut other) = (pooler.client(), pooler.client());
        ask(&mut one, &[parse("s", "select 'kept'"), run("s")].concat());
        let drop_all = "do $$ begin execute 'deallocate all'; end $$";
        for use_it in [use_known("x"), use_described("x")] {
            one.query(drop_all).expect("an answer");
            let messages = [close("x"), parse("x", "select 'kept'"), use_it.clone()].concat();
            let answer = ask(&mut other, &messages);
            assert!(kinds(&answer).ends_with("DCZ"), "{}", kinds(&answer));
            one.query(drop_all).expect("an answer");
            assert!(ask_kinds(&mut other, &use_it).ends_with("DCZ"));
        }
        // In a transaction the error passes, with the client's own name, and the next use works.
        other.query("begin").expect("a transaction");
        other.query(drop_all).expect("an answer");
        let answer = ask(&mut other, &use_known("x"));
        let words = answer[0].field('M').unwrap_or_default();
        assert_eq!(words, "prepared statement \"x\" does not exist");
        other.query("rollback").expect("its end");
        assert_eq!(ask_kinds(&mut other, &use_known("x")), "2DCZ");
    }
}

/// One text of several clients, which need not mean the same.
mod shared {
    use super::*;

    fn use_with(name: &str, value: &str) -> Vec<u8> {
        [wire::bind(name, &[value]), wire::execute()].concat()
    }

    fn value(answer: &[Message]) -> String {
        let row = answer.iter().find(|message| message.kind == b'D');
        let value = row.and_then(|row| row.values().into_iter().next().flatten());
        value.unwrap_or_else(|| format!("{answer:?}"))
    }

    fn sqlstate(answer: &[Message]) -> String {
        let error = answer.iter().find(|message| message.kind == b'E');
        error.and_then(|error| error.field('C')).unwrap_or_default()
    }

    #[test]
    fn constants_mean_what_they_mean_to_whoever_prepares_them() {
        const DATE: &str = "select to_char('01/02/2020'::date, 'YYYY-MM-DD')";
        let pooler = pool_of(1);
        let (mut one, mut other) = (pooler.client(), pooler.client());
        one.query("set datestyle = 'ISO, MDY'").expect("an answer");
        other.query("set datestyle = 'ISO, DMY'").expect("an answer");
        let prepare = |name: &str| [wire::parse(name, DATE), use_known(name)].concat();
        assert_eq!(value(&ask(&mut one, &prepare("q"))), "2020-01-02");
        assert_eq!(value(&ask(&mut other, &prepare("q"))), "2020-02-01");
        assert_eq!(value(&ask(&mut one, &use_known("q"))), "2020-01-02");
        one.query("set datestyle = 'ISO, DMY'").expect("an answer");
        assert_eq!(value(&ask(&mut one, &prepare("r"))), "2020-02-01");
        // A SET under way is not known yet when the Parse behind it is judged.
        let set = wire::query("set datestyle = 'ISO, MDY'");
        let text = DATE.replace("YYYY", "YY");
        one.wire.send(&[set, wire::parse("s", &text), wire::sync()].concat());
        (0..2).for_each(|_| drop(one.wire.hear_until_ready().expect("an answer")));
        let answer = ask(&mut other, &[wire::parse("s", &text), use_known("s")].concat());
        assert_eq!(value(&answer), "20-02-01");
    }

    #[test]
    fn a_text_is_prepared_anew_when_tables_have_changed() {
        let pooler = pool_of(1);
        let (mut one, mut other) = (pooler.client(), pooler.client());
        one.query("create temp table ddl (v int)").expect("an answer");
        let text = "select count(*) from ddl where v = $1";
        let answer = ask(&mut one, &[wire::parse("s", text), use_with("s", "1")].concat());
        assert_eq!(value(&answer), "0");
        one.query("alter table ddl alter v type text").expect("an answer");
        let answer = ask(&mut other, &[wire::parse("s", text), use_with("s", "abc")].concat());
        assert_eq!(value(&answer), "0");
        // Nobody else sees what a transaction changes before it is over.
        one.query("begin; alter table ddl alter v type int using 1").expect("an answer");
        let answer = ask(&mut one, &[wire::parse("t", text), use_with("t", "7")].concat());
        assert_eq!(value(&answer), "0");
        one.query("rollback").expect("its end");
        let answer = ask(&mut other, &[wire::parse("t", text), use_with("t", "abc")].concat());
        assert_eq!(value(&answer), "0");
    }

    /// The pooler has not seen the change: it learns of it by the first error.
    #[test]
    fn an_error_that_may_come_of_a_change_ends_the_statement_for_others() {
        let mut postgres = Postgres::shared().session("app");
        let sql = "create table unseen (v int); grant all on unseen to public";
        postgres.query(sql).expect("a new table");
        let pooler = pool_of(1);
        let text = "select count(*) from unseen where v = $1";
        let try_it = |value: &str| {
            let mut client = pooler.client();
            ask(&mut client, &[wire::parse("s", text), use_with("s", value)].concat())
        };
        assert_eq!(value(&try_it("1")), "0");
        postgres.query("alter table unseen alter v type text").expect("an answer");
        assert_eq!(sqlstate(&try_it("abc")), "22P02");
        assert_eq!(value(&try_it("abc")), "0");
    }

    /// Two servers that describe a statement in two ways: it is older on one of them.
    #[test]
    fn other_types_of_parameters_end_the_statement_for_others() {
        let mut postgres = Postgres::shared().session("app");
        let sql = "create table described_otherwise (v int); \
                   grant all on described_otherwise to public";
        postgres.query(sql).expect("a new table");
        let pooler = pool_of(2);
        let (mut one, mut other) = (pooler.client(), pooler.client());
        let text = "select count(*) from described_otherwise where v = $1";
        let describe = wire::describe_statement("s");
        ask(&mut one, &[wire::parse("s", text), describe.clone()].concat());
        postgres.query("alter table described_otherwise alter v type text").expect("an answer");
        other.query("begin").expect("the first server");
        ask(&mut one, &describe);
        other.query("commit").expect("its end");
        let answer = ask(&mut other, &[wire::parse("s", text), use_with("s", "abc")].concat());
        assert_eq!(value(&answer), "0");
    }

    #[test]
    fn what_they_may_take_of_memory_is_bounded() {
        let setup = Setup::new().set("max_client_prepared_bytes", "100000");
        let pooler = setup.set("max_prepared_bytes", "150000").start();
        let text = |n: usize, size: usize| format!("select {n} /*{}*/", "x".repeat(size));
        let parse = |n: usize| wire::parse(&format!("s{n}"), &text(n, 30_000));
        let last_words = |mut client: Client, bytes: &[u8]| {
            client.wire.send(bytes);
            let words = client.wire.hear_to_the_end();
            let last = words.last().expect("last words");
            ['S', 'C', 'D'].map(|field| last.field(field).unwrap_or_default())
        };
        let mut client = pooler.client();
        // A name that is given up makes room.
        for round in 0..3 {
            let three = (0..3).map(|n| parse(round * 3 + n)).collect::<Vec<_>>().concat();
            assert_eq!(ask_kinds(&mut client, &three), "111Z");
            assert_eq!(ask_kinds(&mut client, &[parse(round * 3), close("s0")].concat()), "13Z");
            let closes = (0..9).map(|n| close(&format!("s{n}"))).collect::<Vec<_>>().concat();
            ask(&mut client, &closes);
        }
        let three = (0..3).map(parse).collect::<Vec<_>>().concat();
        assert_eq!(ask_kinds(&mut client, &three), "111Z");
        let mut other = pooler.client();
        // The same texts again take no more but the names.
        assert_eq!(ask_kinds(&mut other, &three), "111Z");
        let mut third = pooler.client();
        assert_eq!(ask_kinds(&mut third, &parse(3)), "1Z");
        let detail = "max_prepared_bytes is 150000.";
        assert_eq!(last_words(third, &parse(4)), ["FATAL", "53200", detail]);
        let detail = "max_client_prepared_bytes is 100000.";
        assert_eq!(last_words(other, &parse(3)), ["FATAL", "54000", detail]);
        // A long one is refused before it has come.
        let begun = &wire::parse("long", &text(5, 200_000))[..1000];
        assert_eq!(last_words(pooler.client(), begun), ["FATAL", "54000", detail]);
        assert_eq!(ask_kinds(&mut client, &use_known("s1")), "2DCZ");
    }

    /// Names that are long and much alike are not compared with each other.
    #[test]
    fn long_names_in_a_pipeline_take_little_time() {
        const NAMES: usize = 400;
        let pooler = pool_of(1);
        let mut client = pooler.client();
        let begin = "n".repeat(60_000);
        let all = (0..NAMES).map(|n| wire::parse(&format!("{begin}{n}"), "select 1"));
        let all: Vec<u8> = all.collect::<Vec<_>>().concat();
        let before = cpu_ticks(pooler.pid);
        assert_eq!(ask(&mut client, &all).len(), NAMES + 1);
        let closes = (0..NAMES).map(|n| close(&format!("{begin}{n}")));
        assert_eq!(ask(&mut client, &closes.collect::<Vec<_>>().concat()).len(), NAMES + 1);
        let used = cpu_ticks(pooler.pid) - before;
        assert!(used < 200, "{used} ticks of 10 ms");
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
    fn what_is_bound_behind_a_sync_is_kept_however_soon_that_comes() {
        for pooler in pools() {
            let (mut a, mut b) = (pooler.client(), pooler.client());
            let at_once = [wire::parse("", "select 'of a'"), wire::sync(), use_known("")].concat();
            a.wire.send(&[at_once, wire::sync()].concat());
            for _ in 0..2 {
                a.wire.hear_until_ready().expect("answers");
            }
            run(&mut b, "select 'of b'");
            assert_eq!(result(&mut a), "of a");
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

    /// A segment that fails before or in the Parse of an unnamed statement: a name for it, and its
    /// messages.
    fn failing() -> Vec<(&'static str, Vec<u8>)> {
        let new = || wire::parse("", "select 'new'");
        let unread = |rest: &[u8]| wire::message(b'P', &[b"\0select 'new", rest].concat());
        vec![
            ("refused", wire::parse("", "selec")),
            ("refused for a constant", wire::parse("", "select E'\\xff'")),
            ("refused for its encoding", unread(b"\xff'\0\0\0")),
            (
                "refused for its encoding, and bound",
                [unread(b"\xff'\0\0\0"), use_known("")].concat(),
            ),
            ("broken", unread(b"'\0\0\x05")),
            ("skipped after a Bind", [use_known("nosuch"), new()].concat()),
            ("skipped after a Parse", [wire::parse("fails", "selec"), new()].concat()),
            ("skipped twice", [use_known("nosuch"), new(), new()].concat()),
            ("none", wire::parse("fails", "selec")),
        ]
    }

    /// Whatever a Parse that fails or is skipped leaves of the unnamed statement, the client finds
    /// what it would find without a pooler, even if it has not awaited the error: its older one or
    /// none, and never that of another client.
    #[test]
    fn after_a_parse_that_comes_to_nothing_all_is_as_without_a_pooler() {
        let told = |client: &mut Client, segments: &[&Vec<u8>]| -> String {
            let bytes: Vec<Vec<u8>> =
                segments.iter().map(|segment| [&segment[..], &wire::sync()].concat()).collect();
            client.wire.send(&bytes.concat());
            let answers = segments.iter().map(|_| {
                let answer = client.wire.hear_until_ready().expect("an answer");
                let values = answer.iter().filter(|message| message.kind == b'D');
                let codes = answer.iter().filter_map(|message| message.field('C'));
                let values = values.filter_map(|row| row.values().into_iter().next().flatten());
                format!("{} {:?}; ", kinds(&answer), values.chain(codes).collect::<Vec<_>>())
            });
            answers.collect()
        };
        // What the client has prepared in an earlier transaction. The last one leaves a trace.
        let sets = "select set_config('my.mark', 'older', false)";
        let older = [None, Some("select 'older'"), Some(sets)];
        let configs = [("200", "allow"), ("0", "allow"), ("200", "reset"), ("0", "reset")];
        let poolers = configs.map(|(tracked, policy)| {
            let setup = Setup::new().set("default_pool_size", "1").set("session_state", policy);
            setup.set("max_prepared_statements", tracked).start()
        });
        for (name, failing) in failing() {
            let (again, is_read) = (failing.clone(), !name.contains("encoding"));
            // Of two texts that were not read, the pooler has the later one only.
            let again = if is_read { again } else { use_known("nosuch") };
            let [binds, describes] = [use_known(""), [describe(), use_known("")].concat()];
            let ways: [&[&[&Vec<u8>]]; 4] = [
                &[&[&failing], &[&binds], &[&binds]],
                &[&[&failing, &binds], &[&binds]],
                &[&[&failing, &describes, &binds], &[&binds]],
                &[&[&again, &failing, &binds], &[&binds]],
            ];
            for (older, (way, trips)) in
                older.iter().flat_map(|older| ways.iter().enumerate().map(move |way| (older, way)))
            {
                let play = |client: &mut Client, mut between: Box<dyn FnMut() + '_>| {
                    let mut all = String::new();
                    if let Some(older) = older {
                        between();
                        all += &told(client, &[&wire::parse("", older)]);
                        all += &told(client, &[&use_known("")]);
                    }
                    for trip in *trips {
                        between();
                        all += &told(client, trip);
                    }
                    all
                };
                let expected = play(&mut Postgres::shared().session("app"), Box::new(|| ()));
                for (pooler, config) in poolers.iter().zip(configs) {
                    let mut other = pooler.client();
                    let between = Box::new(|| run(&mut other, "select 'of another'"));
                    let got = play(&mut pooler.client(), between);
                    assert_eq!(got, expected, "{name}, {older:?}, way {way}, {config:?}");
                }
            }
        }
    }

    /// PostgreSQL refuses a simple query in a wrong encoding before it drops the unnamed statement.
    #[test]
    fn a_simple_query_that_is_not_read_gives_nothing_away() {
        for pooler in pools() {
            let (mut a, mut b) = (pooler.client(), pooler.client());
            run(&mut b, "select 'of b'");
            let unread = wire::message(b'Q', b"select '\xff'\0");
            a.wire.send(&unread);
            let refused = a.wire.hear_until_ready().expect("an answer");
            assert_eq!(
                (kinds(&refused), refused[0].field('C')),
                ("EZ".into(), Some("22021".into()))
            );
            assert_eq!(result(&mut a), "26000");
            run(&mut b, "select 'of b'");
            a.wire.send(&[unread, use_known(""), wire::sync()].concat());
            let answers = [(); 2].map(|()| a.wire.hear_until_ready().expect("an answer"));
            assert_eq!(
                answers.map(|answer| answer[0].field('C').unwrap_or_default()),
                ["22021", "26000"]
            );
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
