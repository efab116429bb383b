//! Recognises one statement of SQL: `DEALLOCATE [PREPARE] name`, as drivers send it to drop a
//! statement that they prepared by protocol, alone or (psqlODBC in a transaction) between SAVEPOINT
//! and RELEASE. This is no parser: anything else is left to the server. `DEALLOCATE ALL` and
//! `DISCARD ALL` are recognised too, since messages sent after them must wait. After a text that
//! only may be one of them, messages wait too, which costs no more than the time of an answer.
//!
//! Source: PostgreSQL manual, "Lexical Structure" and DEALLOCATE.

use std::borrow::Cow;

use super::lexer::{is_part_of_word, is_start_of_word};
use crate::base::text::has_byte;
use crate::wire::fields::up_to_nul;

/// A simple query that drops one prepared statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Deallocate {
    /// Folded to lower case unless quoted.
    pub name: Vec<u8>,
    /// Whether it stands between a SAVEPOINT and its RELEASE, which have no effect but their
    /// answers.
    pub in_savepoint: bool,
}

/// Takes a query apart; None if it does anything but drop one statement.
pub fn read(sql: &[u8]) -> Option<Deallocate> {
    let mut rest = sql;
    let mut word = token(&mut rest)?;
    let mut savepoint = None;
    if word.is_keyword("savepoint") {
        savepoint = Some(token(&mut rest)?.folded());
        semicolon(&mut rest)?;
        word = token(&mut rest)?;
    }
    if !word.is_keyword("deallocate") {
        return None;
    }
    let mut name = token(&mut rest)?;
    if name.is_keyword("prepare") {
        name = token(&mut rest)?;
    }
    if name.is_keyword("all") || name.text.is_empty() {
        return None;
    }
    if let Some(savepoint) = &savepoint {
        semicolon(&mut rest)?;
        release(&mut rest, savepoint)?;
    }
    let _ = semicolon(&mut rest);
    let in_savepoint = savepoint.is_some();
    rest.is_empty().then(|| Deallocate { name: name.folded(), in_savepoint })
}

/// Takes the RELEASE of this savepoint.
fn release(rest: &mut &[u8], savepoint: &[u8]) -> Option<()> {
    if !token(rest)?.is_keyword("release") {
        return None;
    }
    let mut name = token(rest)?;
    if name.is_keyword("savepoint") {
        name = token(rest)?;
    }
    (name.folded() == savepoint).then_some(())
}

/// Whether a text, of which only the beginning may be here, begins with a statement that decides
/// what the messages after it mean: it drops all prepared statements, or is a COPY.
#[inline(always)]
pub fn is_decisive(sql: &[u8]) -> bool {
    may_begin(sql, b'c') && begins_to_copy(sql) || begins_to_drop_all(sql)
}

/// Whether the first word may begin with this letter: most texts are told apart by their first
/// byte.
#[inline(always)]
fn may_begin(sql: &[u8], letter: u8) -> bool {
    sql.first().is_some_and(|&first| {
        first.eq_ignore_ascii_case(&letter) || matches!(first, b'-' | b'/') || is_blank(first)
    })
}

fn begins_to_copy(sql: &[u8]) -> bool {
    let mut rest = sql;
    token(&mut rest).is_some_and(|word| word.is_keyword("copy"))
}

/// Whether a text, of which only the beginning may be here, begins with a statement that drops all
/// prepared statements, as far as can be told.
#[inline(always)]
pub fn begins_to_drop_all(sql: &[u8]) -> bool {
    may_begin(sql, b'd') && drops_all(sql)
}

fn drops_all(sql: &[u8]) -> bool {
    let mut rest = sql;
    skip_blanks(&mut rest);
    if rest.is_empty() || rest.starts_with(b"/*") {
        // Only blanks, or a comment that has not come whole: the statement may follow.
        return !sql.is_empty();
    }
    let Some(word) = token(&mut rest) else { return false };
    let mut next = token(&mut rest);
    if word.is_keyword("deallocate") && next.as_ref().is_some_and(|n| n.is_keyword("prepare")) {
        next = token(&mut rest);
    }
    let is_all = next.is_some_and(|next| next.is_keyword("all"));
    is_all && (word.is_keyword("deallocate") || word.is_keyword("discard"))
}

/// Whether a text may be one that PostgreSQL accepts in a failed transaction: the end of the
/// transaction, or an empty text.
pub fn may_end_block(text: &[u8]) -> bool {
    let mut rest = up_to_nul(text);
    match token(&mut rest) {
        Some(word) => {
            let ends = ["abort", "commit", "end", "prepare", "rollback"];
            ends.iter().any(|end| word.is_keyword(end))
        }
        None => true,
    }
}

/// Whether one of the statements of a simple query may drop all prepared statements.
#[inline(always)]
pub fn may_drop_all(sql: &[u8]) -> bool {
    let text = sql.strip_suffix(b"\0").unwrap_or(sql);
    begins_to_drop_all(text) || has_byte(text, b';') && names_dropping(text)
}

/// Whether DEALLOCATE or DISCARD stands anywhere in the text.
fn names_dropping(text: &[u8]) -> bool {
    let is_word = |at: usize, word: &[u8]| {
        text[at..].get(..word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    let starts = |at: &usize| matches!(text[*at], b'd' | b'D');
    (0..text.len()).filter(starts).any(|at| is_word(at, b"deallocate") || is_word(at, b"discard"))
}

struct DeallocateToken<'a> {
    text: Cow<'a, [u8]>,
    is_quoted: bool,
}

impl DeallocateToken<'_> {
    fn is_keyword(&self, word: &str) -> bool {
        !self.is_quoted && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    /// The identifier that the token stands for.
    fn folded(&self) -> Vec<u8> {
        if self.is_quoted { self.text.to_vec() } else { self.text.to_ascii_lowercase() }
    }
}

/// Skips blanks and comments, but no comment without an end.
fn skip_blanks(rest: &mut &[u8]) {
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        *rest = &rest[blanks..];
        let length = match rest {
            [b'-', b'-', ..] => {
                Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()))
            }
            [b'/', b'*', ..] => length_of_comment(rest),
            _ => None,
        };
        let Some(length) = length else { return };
        *rest = &rest[length..];
    }
}

/// The length of a comment, with the comments nested in it.
fn length_of_comment(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0);
    while let Some(two) = text.get(at..at + 2) {
        match two {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// Takes a semicolon, and the blanks after it.
fn semicolon(rest: &mut &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(b";")?;
    skip_blanks(rest);
    Some(())
}

/// Takes an identifier, and the blanks around it.
fn token<'a>(rest: &mut &'a [u8]) -> Option<DeallocateToken<'a>> {
    skip_blanks(rest);
    let token = match rest.first()? {
        b'"' => quoted(rest)?,
        _ => plain(rest)?,
    };
    skip_blanks(rest);
    Some(token)
}

fn plain<'a>(rest: &mut &'a [u8]) -> Option<DeallocateToken<'a>> {
    rest.first().filter(|byte| is_start_of_word(**byte))?;
    let length = rest.iter().take_while(|byte| is_part_of_word(**byte)).count();
    let (text, behind) = rest.split_at(length);
    *rest = behind;
    Some(DeallocateToken { text: text.into(), is_quoted: false })
}

fn quoted<'a>(rest: &mut &'a [u8]) -> Option<DeallocateToken<'a>> {
    let mut text = Vec::new();
    let mut bytes = rest.iter().enumerate().skip(1).peekable();
    while let Some((at, &byte)) = bytes.next() {
        if byte != b'"' {
            text.push(byte);
            continue;
        }
        if bytes.next_if(|(_, next)| **next == b'"').is_some() {
            text.push(b'"');
            continue;
        }
        *rest = &rest[at + 1..];
        return Some(DeallocateToken { text: text.into(), is_quoted: true });
    }
    None
}

#[cfg(test)]
mod tests {
    fn name(sql: &str) -> Option<String> {
        let read = super::read(sql.as_bytes()).filter(|read| !read.in_savepoint);
        read.map(|read| String::from_utf8(read.name).unwrap())
    }

    #[test]
    fn what_stands_in_a_savepoint_of_its_own_is_recognised() {
        for sql in [
            "SAVEPOINT _per_query_svp_;DEALLOCATE \"_PLAN0x7f\";RELEASE _per_query_svp_",
            "savepoint \"a\" ; deallocate prepare \"_PLAN0x7f\" ; release savepoint A ; ",
        ] {
            let read = super::read(sql.as_bytes()).expect(sql);
            assert!(read.in_savepoint && read.name == b"_PLAN0x7f", "{sql}");
        }
        for sql in [
            "SAVEPOINT a;DEALLOCATE b",
            "SAVEPOINT a;DEALLOCATE b;RELEASE c",
            "SAVEPOINT a;DEALLOCATE b;RELEASE a;SELECT 1",
            "SAVEPOINT a;SELECT 1;RELEASE a",
            "SAVEPOINT a DEALLOCATE b RELEASE a",
            "DEALLOCATE b;RELEASE a",
            "SAVEPOINT",
        ] {
            assert_eq!(super::read(sql.as_bytes()), None, "{sql}");
        }
    }

    #[test]
    fn what_drivers_send_is_recognised() {
        for (sql, expected) in [
            ("DEALLOCATE pdo_stmt_00000001", "pdo_stmt_00000001"),
            ("deallocate Prepare A1;", "a1"),
            ("DEALLOCATE \"_PLAN0x55c858b7a4c0\"", "_PLAN0x55c858b7a4c0"),
            (" DEALLOCATE\n\tdbdpg_p1_1 ; ", "dbdpg_p1_1"),
            ("DEALLOCATE \"a\"\"b\"", "a\"b"),
            ("DEALLOCATE \"all\"", "all"),
            ("DEALLOCATE PREPARE prepare", "prepare"),
            ("-- why\nDEALLOCATE /* what */ a -- done", "a"),
        ] {
            assert_eq!(name(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_a_failed_transaction_lets_pass_is_recognised() {
        for sql in ["ROLLBACK\0\0\0", "", "\0\0\0", " -- a\n commit", "END", ";"] {
            assert!(super::may_end_block(sql.as_bytes()), "{sql}");
        }
        for sql in ["SELECT 1\0\0\0", "begin", "committed"] {
            assert!(!super::may_end_block(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn what_drops_all_statements_is_recognised() {
        for sql in [
            "DISCARD ALL",
            " discard all;",
            "Deallocate All",
            "DEALLOCATE PREPARE ALL; x",
            "/* a /* b */ c */ -- d\n discard/**/all",
            "-- a\n--b\ndeallocate all",
            "/* goes on",
        ] {
            assert!(super::begins_to_drop_all(sql.as_bytes()), "{sql}");
            assert!(super::may_drop_all(sql.as_bytes()), "{sql}");
        }
        for sql in ["select 1; discard all", "/*;*/ select 1;/* a;b */ Deallocate All\0"] {
            assert!(super::may_drop_all(sql.as_bytes()), "{sql}");
            assert!(!super::begins_to_drop_all(sql.as_bytes()), "{sql}");
        }
        for sql in [
            "",
            "DISCARD",
            "DISCARD PLANS",
            "DISCARD \"all\"",
            "DEALLOCATE a",
            "SELECT 1",
            "SELECT 1; SELECT 2",
            "/* discard all */ SELECT 1",
            "-- discard all\nDELETE",
            "- discard all",
        ] {
            assert!(!super::begins_to_drop_all(sql.as_bytes()), "{sql}");
            assert!(!super::may_drop_all(sql.as_bytes()), "{sql}");
        }
    }

    #[test]
    fn everything_else_is_left_to_the_server() {
        for sql in [
            "",
            "DEALLOCATE",
            "DEALLOCATE ALL",
            "DEALLOCATE PREPARE ALL",
            "DEALLOCATE a; SELECT 1",
            "DEALLOCATE a b",
            "DEALLOCATE \"a",
            "DEALLOCATE 'a'",
            "DEALLOCATE /* x a",
            "SELECT 1",
            "DEALLOCATEa",
        ] {
            assert_eq!(name(sql), None, "{sql}");
        }
    }
}
