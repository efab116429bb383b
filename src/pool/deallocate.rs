//! Recognises one statement of SQL: `DEALLOCATE [PREPARE] name`, as drivers send it to drop a
//! statement that they prepared by protocol. No parser: anything else is left to the server.
//! `DEALLOCATE ALL` and `DISCARD ALL` are told apart too, since what is sent behind them must wait.
//!
//! Source: PostgreSQL manual, "Lexical Structure" and DEALLOCATE.

/// The name that `sql` deallocates, folded to lower case unless quoted.
pub fn name(sql: &[u8]) -> Option<Vec<u8>> {
    let mut rest = sql;
    let word = token(&mut rest)?;
    if !word.is_keyword("deallocate") {
        return None;
    }
    let mut name = token(&mut rest)?;
    if name.is_keyword("prepare") {
        name = token(&mut rest)?;
    }
    if name.is_keyword("all") {
        return None;
    }
    if rest.first() == Some(&b';') {
        rest = &rest[1..];
    }
    skip_blanks(&mut rest);
    (rest.is_empty() && !name.text.is_empty()).then_some(name.text)
}

/// Whether `sql` can be a statement that is recognised here, by its first byte.
pub fn may_concern(first: u8) -> bool {
    matches!(first, b'd' | b'D') || is_blank(first)
}

/// Whether `sql` begins with a statement that drops all prepared statements.
pub fn drops_all(sql: &[u8]) -> bool {
    let mut rest = sql;
    let Some(word) = token(&mut rest) else { return false };
    let mut next = token(&mut rest);
    if word.is_keyword("deallocate") && next.as_ref().is_some_and(|n| n.is_keyword("prepare")) {
        next = token(&mut rest);
    }
    let is_all = next.is_some_and(|next| next.is_keyword("all"));
    is_all && (word.is_keyword("deallocate") || word.is_keyword("discard"))
}

struct Token {
    text: Vec<u8>,
    is_quoted: bool,
}

impl Token {
    fn is_keyword(&self, word: &str) -> bool {
        !self.is_quoted && self.text == word.as_bytes()
    }
}

fn skip_blanks(rest: &mut &[u8]) {
    let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
    *rest = &rest[blanks..];
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
}

/// An identifier, and the blanks around it.
fn token(rest: &mut &[u8]) -> Option<Token> {
    skip_blanks(rest);
    let token = match rest.first()? {
        b'"' => quoted(rest)?,
        _ => plain(rest)?,
    };
    skip_blanks(rest);
    Some(token)
}

fn plain(rest: &mut &[u8]) -> Option<Token> {
    let starts = |b: &u8| b.is_ascii_alphabetic() || *b == b'_' || *b >= 0x80;
    rest.first().filter(|b| starts(b))?;
    let length = rest.iter().take_while(|b| starts(b) || b.is_ascii_digit() || **b == b'$').count();
    let text = rest[..length].to_ascii_lowercase();
    *rest = &rest[length..];
    Some(Token { text, is_quoted: false })
}

fn quoted(rest: &mut &[u8]) -> Option<Token> {
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
        return Some(Token { text, is_quoted: true });
    }
    None
}

#[cfg(test)]
mod tests {
    fn name(sql: &str) -> Option<String> {
        super::name(sql.as_bytes()).map(|name| String::from_utf8(name).unwrap())
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
        ] {
            assert_eq!(name(sql).as_deref(), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_drops_all_statements_is_recognised() {
        for sql in ["DISCARD ALL", " discard all;", "Deallocate All", "DEALLOCATE PREPARE ALL; x"] {
            assert!(super::drops_all(sql.as_bytes()), "{sql}");
            assert!(super::may_concern(sql.as_bytes()[0]));
        }
        for sql in ["", "DISCARD", "DISCARD PLANS", "DISCARD \"all\"", "DEALLOCATE a", "SELECT 1"] {
            assert!(!super::drops_all(sql.as_bytes()), "{sql}");
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
            "DEALLOCATE /* x */ a",
            "SELECT 1",
            "DEALLOCATEa",
        ] {
            assert_eq!(name(sql), None, "{sql}");
        }
    }
}
