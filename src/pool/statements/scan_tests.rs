//! Tests of the effects that are found in texts: written by hand, and made from seeds.

use super::*;
use crate::base::rng::{Rng, SeededRng};

const T: fn(&str) -> Effects = |sql| read(sql.as_bytes());

fn leaves(sql: &str) -> String {
    T(sql).leaves.to_string()
}

fn clears(sql: &str) -> String {
    T(sql).clears.to_string()
}

#[test]
fn what_a_statement_leaves_is_told() {
    for (sql, expected) in [
        ("SET x = 1", "set"),
        ("set session search_path to a", "set"),
        ("SET SCHEMA 'x'", "set"),
        ("SET local.x = 1", "set"),
        ("SET local TO 1", "set"),
        ("SET \"X\" TO 1", "set"),
        ("SET timezone.x = 1", "set"),
        ("SET extra_float_digits = 3", "digits"),
        ("set session \"Extra_Float_Digits\" to 2 ; select 1", "digits"),
        ("SET extra_float_digits = 0", "set"),
        ("SET extra_float_digits = -1", "set"),
        ("SET extra_float_digits = 33", "set"),
        ("SET extra_float_digits = 1.5", "set"),
        ("SET extra_float_digits = '3'", "set"),
        ("SET extra_float_digits TO DEFAULT", "set"),
        ("SET extra_float_digits = ", "set"),
        ("SET extra_float_digits.x = 3", "set"),
        ("SET extra_float_digits 3", "set"),
        ("SET extra_float_digits = 3; SET x = 1", "set,digits"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set"),
        ("SET ROLE joe", "role"),
        ("SET SESSION ROLE NONE", "role"),
        ("SET \"Role\" TO joe", "role"),
        ("SET SESSION AUTHORIZATION 'joe'", "role,authorization"),
        ("SET session_authorization TO joe", "role,authorization"),
        ("LISTEN a", "listen"),
        ("PREPARE a AS SELECT 1", "prepared"),
        ("PREPARE transaction AS SELECT 1", "prepared"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "cursor"),
        ("CREATE TEMP TABLE a ()", "temporary"),
        ("create or replace temporary view a as select 1", "temporary"),
        ("CREATE LOCAL TEMPORARY SEQUENCE a", "temporary"),
        ("CREATE TABLE pg_temp.a ()", "temporary"),
        ("SELECT 1 INTO TEMP a", "temporary"),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1", "temporary"),
        ("SELECT pg_advisory_lock(1)", "lock"),
        ("SELECT pg_catalog.\"pg_try_advisory_lock_shared\"(1)", "lock"),
        ("SELECT my_advisory_lock(1)", "lock"),
        ("SELECT set_config('a.b', 'c', false)", "set"),
        ("SELECT set_config ( 'a.b' , $1 , $2 )", "set"),
        ("SELECT set_config('a.b', 'c', not true)", "set"),
        ("SELECT set_config('a.b', 'c', true), set_config('a.b', 'c', false)", "set"),
        ("SELECT set_config('a.b', set_config('c', 'd', false), true)", "set"),
        ("SELECT set_config('TimeZone' || '', 'UTC', false)", "set"),
        ("WITH a AS (SELECT \"set_config\"('a', 'b', is_local => true)) SELECT 1", "set"),
        (
            "SELECT U&\"\\0073et_config\"('a', 'b', false)",
            "set,digits,role,authorization,listen,prepared,cursor,temporary,lock,unknown",
        ),
        ("DO $$ BEGIN END $$", "unknown"),
        ("CALL a()", "unknown"),
        ("LOAD 'a'", "lasting"),
        ("SELECT dblink_connect('a', 'b')", "lasting"),
        ("BEGIN; SET x = 1; COMMIT", "set"),
        ("/* a */ -- b\n;; LISTEN a; SELECT ';'", "listen"),
        ("SELECT '\\'; LISTEN a; --'", "listen"),
        ("SELECT '\\' ; /* x */ SET ROLE a; --'", "set,role,authorization"),
    ] {
        assert_eq!(leaves(sql), expected, "{sql}");
    }
}

#[test]
fn what_leaves_nothing_is_told() {
    for sql in [
        "",
        ";",
        "SELECT 1",
        "select 1;",
        "SELECT 'LISTEN a; SET x = 1'",
        "SELECT $a$; SET x = 1; $a$",
        "-- LISTEN a\nSELECT 1",
        "UPDATE a SET b = 1",
        "SET LOCAL x = 1",
        "SET LOCAL ROLE joe",
        "SET TRANSACTION READ ONLY",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET TIME ZONE 'UTC'",
        "SET SESSION TIME ZONE LOCAL",
        "SET NAMES 'utf8'",
        "SET application_name = 'a'",
        "SET \"DateStyle\" TO 'ISO'",
        "SELECT set_config('a.b', 'c', true)",
        "SELECT pg_catalog.set_config('a.b', $1, TRUE), set_config('a.b', f(1, 2), true)",
        "SELECT set_config('TimeZone', 'UTC', false)",
        "SELECT set_config FROM a",
        "PREPARE TRANSACTION 'a'",
        "DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1",
        "DECLARE c CURSOR FOR SELECT 1",
        "INSERT INTO temp VALUES (1)",
        "SELECT temp FROM weather",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_unlock(1)",
        "RESET x",
        "DISCARD PLANS",
        "CREATE FUNCTION a() RETURNS int SET x = 1 AS 'LISTEN b' LANGUAGE sql",
    ] {
        assert_eq!(leaves(sql), "", "{sql}");
        assert_eq!(clears(sql), "", "{sql}");
    }
}

#[test]
fn what_clears_is_told() {
    let all = "set,digits,role,authorization,listen,prepared,cursor,temporary,lock,unknown";
    for (sql, expected) in [
        ("RESET ALL", "set,digits"),
        ("RESET ROLE", "role"),
        ("RESET SESSION AUTHORIZATION", "role,authorization"),
        ("SET SESSION AUTHORIZATION DEFAULT", "role,authorization"),
        ("DISCARD ALL", all),
        ("DISCARD TEMP", "temporary"),
        ("UNLISTEN *", "listen"),
        ("CLOSE ALL", "cursor"),
        ("DEALLOCATE ALL", "prepared"),
        ("DEALLOCATE PREPARE ALL", "prepared"),
        ("SELECT pg_advisory_unlock_all()", "lock"),
        ("select pg_catalog.pg_advisory_unlock_all ( ) ;", "lock"),
        ("SET x = 1; RESET ALL", "set,digits"),
        ("RESET ALL; SET x = 1", "digits"),
        ("RESET ALL; SET extra_float_digits = 3", "set"),
        ("UNLISTEN a", ""),
        ("CLOSE \"all\"", ""),
        ("DEALLOCATE a", ""),
        ("SELECT pg_advisory_unlock_all() WHERE false", ""),
        // asyncpg's, and pgx's before it.
        (
            "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
            "set,digits,listen,cursor,lock",
        ),
    ] {
        assert_eq!(clears(sql), expected, "{sql}");
    }
    assert_eq!(leaves("SET x = 1; RESET ALL"), "set", "it is there if the second one fails");
}

#[test]
fn other_things_are_told() {
    assert!(T("COPY a (b, c) FROM STDIN WITH CSV").copies_in);
    assert!(T("SELECT 1; COPY \"a;b\" from/**/stdin").copies_in);
    for sql in ["COPY a TO STDOUT", "COPY (SELECT 1 FROM stdin) TO STDOUT", "SELECT 1 FROM stdin"] {
        assert!(!T(sql).copies_in, "{sql}");
    }
    assert!(T("EXPLAIN ANALYZE EXECUTE a").executes);
    assert!(T("SELECT 1; FETCH 2 FROM c").executes && T("move all in c").executes);
    assert!(T("DECLARE c CURSOR FOR SELECT 1").declares && !T("SELECT 1 FROM fetch").executes);
    assert!(T("SELECT pg_advisory_unlock(1)").touches_locks);
    assert!(T("SET LOCAL x = 1").sets_harmlessly && T("SET TIME ZONE 'UTC'").sets_harmlessly);
    assert!(!T("SET x = 1").sets_harmlessly);
}

/// Texts that the words of every rule are made of, in any order.
fn any_text(rng: &mut SeededRng) -> Vec<u8> {
    const PARTS: &[&str] = &[
        "SET ",
        "session ",
        "LOCAL ",
        "x",
        "=",
        "1",
        ";",
        " ",
        "\n",
        "'",
        "\"",
        "\\",
        "$$",
        "$a$",
        "--",
        "/*",
        "*/",
        "LISTEN ",
        "RESET ",
        "ALL",
        "set_config",
        "(",
        ")",
        ",",
        "true",
        "pg_advisory_lock",
        "SELECT ",
        "INTO ",
        "TEMP ",
        "CREATE ",
        "e'",
        "U&",
        "\u{e9}",
        "to ",
        ".",
        "role ",
        "insert ",
        "select ",
        "update ",
        "with ",
        "dblink_connect",
        "PREPARE ",
        "transaction ",
        "execute ",
        "\0",
    ];
    let count = rng.below(24);
    let any = |_| PARTS[rng.below(PARTS.len() as u64) as usize].bytes();
    (0..count).flat_map(any).collect()
}

#[test]
fn no_text_that_is_taken_for_plain_leaves_anything() {
    let mut plain = 0;
    for seed in 0..20_000 {
        let mut rng = SeededRng::new(seed);
        let head: &[u8] = if rng.one_in(2) { b"select " } else { b"" };
        let text = [head, &any_text(&mut rng)].concat();
        if is_plain(&text) {
            plain += 1;
            let effects = read_words(&text);
            let shown = String::from_utf8_lossy(&text);
            assert!(effects.leaves.is_empty(), "seed {seed}: {shown} leaves {}", effects.leaves);
            assert!(!effects.copies_in && !effects.touches_locks, "seed {seed}: {shown}");
        }
    }
    assert!(plain > 500, "{plain}");
}

#[test]
fn a_text_in_pieces_is_read_as_in_one() {
    for seed in 0..5000 {
        let mut rng = SeededRng::new(seed);
        let text = any_text(&mut rng);
        let mut scan = Scan::default();
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(1 + rng.below(rest.len() as u64) as usize);
            scan.feed(piece);
            rest = behind;
        }
        assert_eq!(scan.finish(), read_words(&text), "seed {seed}");
    }
}

/// Statements in any order and form leave what each of them leaves.
#[test]
fn the_effects_of_statements_add_up() {
    const STATEMENTS: &[(&str, Traces)] = &[
        ("SELECT 1 FROM a", Traces::NONE),
        ("UPDATE a SET b = 'LISTEN x'", Traces::NONE),
        ("SET x = 1", Traces::SET),
        ("SET LOCAL x = 1", Traces::NONE),
        ("LISTEN a", Traces::LISTEN),
        ("DECLARE a CURSOR WITH HOLD FOR SELECT 1", Traces::CURSOR),
        ("CREATE TEMP TABLE a ( )", Traces::TEMPORARY),
        ("SELECT pg_advisory_lock ( 1 )", Traces::LOCK),
        ("PREPARE a AS SELECT 1", Traces::PREPARED),
        ("SELECT $x$ ; SET y = 1 $x$", Traces::NONE),
    ];
    const BLANKS: &[&str] =
        &[" ", "\n", "\t ", " /* ; SET y = 1 */ ", " -- LISTEN\n", " /*/**/*/ "];
    for seed in 0..3000 {
        let mut rng = SeededRng::new(seed);
        let (mut text, mut expected) = (String::new(), Traces::NONE);
        for _ in 0..rng.below(5) {
            let (statement, left) = STATEMENTS[rng.below(STATEMENTS.len() as u64) as usize];
            expected = expected.and(left);
            for word in statement.split(' ') {
                text += BLANKS[rng.below(BLANKS.len() as u64) as usize];
                match rng.one_in(2) && !word.contains('$') {
                    true => text += &word.to_lowercase(),
                    false => text += word,
                }
            }
            text.push(';');
        }
        // In a string or dollar quote the blanks are no blanks, but they do not end it either.
        assert_eq!(T(&text).leaves, expected, "seed {seed}: {text}");
    }
}
