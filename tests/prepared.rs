//! Prepared statements in the built program with a real PostgreSQL, message by message: tables that
//! change under a statement, names that are not there, broken packets, and what all of it costs.
//! Real drivers stand in `clients`.

mod support;

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
