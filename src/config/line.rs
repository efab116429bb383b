//! The connection string, which the lines of `[databases]`, `[users]` and `[peers]` share.
//!
//! It is `key=value` pairs between spaces. A value in single quotes may hold spaces, and two quotes
//! there stand for one. A value must not be empty. Errors do not show values, which may be secret.
//! Two errors are tolerated, as by PgBouncer: a character that follows a closing quote is left out,
//! and a tab, which ends no value, belongs to it.

use std::fmt;

use crate::base::text::{is_space, trim_space};

/// Why a connection string cannot be taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineError {
    /// A word without `=`, after the value of this key if there is one. The word is not kept: it
    /// may be the rest of a password.
    NoEquals(Option<String>),
    /// `=` without a key in front.
    NoKey,
    /// This key has no value, or an empty one.
    NoValue(String),
    /// The value of this key begins with a quote that nothing closes.
    Unclosed(String),
    /// Something follows the closing quote of this key's value without a space between.
    AfterQuote(String),
    /// The value of this key holds a tab, or other white space that does not separate pairs.
    Tab(String),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::NoEquals(None) => f.write_str("expected KEY=VALUE"),
            LineError::NoEquals(Some(key)) => write!(
                f,
                "expected KEY=VALUE behind {key}, whose value needs quotes if it holds spaces"
            ),
            LineError::NoKey => f.write_str("expected a key before \"=\""),
            LineError::NoValue(key) => write!(f, "expected a value for {key}"),
            LineError::Unclosed(key) => write!(f, "the quote of {key} is not closed"),
            LineError::AfterQuote(key) => {
                write!(
                    f,
                    "expected a space behind the closing quote of {key}; a character is left out"
                )
            }
            LineError::Tab(key) => {
                write!(f, "expected a space behind the value of {key}; a tab belongs to the value")
            }
        }
    }
}

impl std::error::Error for LineError {}

/// Keys and values in order, and the errors that are tolerated.
#[derive(Default, Debug)]
pub struct Pairs {
    pub pairs: Vec<(String, String)>,
    pub mistakes: Vec<LineError>,
}

/// Takes a connection string apart.
pub fn pairs(text: &str) -> Result<Pairs, LineError> {
    let Pairs { mut pairs, mut mistakes } = Pairs::default();
    let mut rest = trim_space(text);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (key, tail) = (&rest[..end], rest[end..].trim_start_matches(is_space::<char>));
        let Some(tail) = tail.strip_prefix('=') else {
            return Err(LineError::NoEquals(pairs.pop().map(|(key, _)| key)));
        };
        if key.is_empty() {
            return Err(LineError::NoKey);
        }
        let text = tail.trim_start_matches(' ');
        let (value, mut tail) = value(&told(key, &pairs), text)?;
        if !text.starts_with('\'') && value.contains(|c| c != ' ' && is_space(c)) {
            mistakes.push(LineError::Tab(told(key, &pairs)));
        }
        if let Some(next) = tail.chars().next().filter(|next| !is_space(*next)) {
            mistakes.push(LineError::AfterQuote(told(key, &pairs)));
            tail = &tail[next.len_utf8()..];
        }
        if value.is_empty() {
            return Err(LineError::NoValue(told(key, &pairs)));
        }
        pairs.push((key.to_owned(), value));
        rest = tail.trim_start_matches(is_space::<char>);
    }
    Ok(Pairs { pairs, mistakes })
}

/// `key` as an error may show it. After a password, `key` may be a part of the password
/// (`password=one two=3`), so it is not shown.
pub fn told(key: &str, before: &[(String, String)]) -> String {
    let is_behind = before.iter().any(|(key, _)| key == "password");
    if is_behind { "what follows the password".to_owned() } else { key.to_owned() }
}

/// The value at the start of `text`, and what follows it.
fn value<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), LineError> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find(' ').unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut rest = quoted;
    loop {
        let Some(end) = rest.find('\'') else { return Err(LineError::Unclosed(key.to_owned())) };
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(more) = rest.strip_prefix('\'') else { break };
        value.push('\'');
        rest = more;
    }
    Ok((value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<(String, String)> {
        let found = pairs(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(found.mistakes, [], "{text}");
        found.pairs
    }

    #[test]
    fn pairs_stand_between_spaces_and_quotes_hold_what_is_between_them() {
        let cases: [(&str, &[(&str, &str)]); 10] = [
            ("", &[]),
            ("\x0b host=a \tport =\x205  \x0b", &[("host", "a"), ("port", "5")]),
            ("dbname='a\tb'\tport=5", &[("dbname", "a\tb"), ("port", "5")]),
            ("dbname = x", &[("dbname", "x")]),
            ("dbname='it''s' a=b", &[("dbname", "it's"), ("a", "b")]),
            ("q='select ''x''' ", &[("q", "select 'x'")]),
            ("q=''''", &[("q", "'")]),
            ("a=b'c'", &[("a", "b'c'")]),
            ("a=b=c", &[("a", "b=c")]),
            ("a=1 a=2", &[("a", "1"), ("a", "2")]),
        ];
        for (text, expected) in cases {
            let found = pairs_of(text);
            let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_pair_is_refused_with_the_key() {
        let cases = [
            ("host", "expected KEY=VALUE"),
            (
                "a=b host c=d",
                "expected KEY=VALUE behind a, whose value needs quotes if it holds spaces",
            ),
            ("password=a b=", "expected a value for what follows the password"),
            ("=x", "expected a key before \"=\""),
            ("host=", "expected a value for host"),
            ("host=''", "expected a value for host"),
            ("dbname='a", "the quote of dbname is not closed"),
            ("dbname='a''", "the quote of dbname is not closed"),
        ];
        for (text, expected) in cases {
            assert_eq!(pairs(text).expect_err(text).to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_tab_belongs_to_the_value_that_it_stands_in() {
        for text in ["password=a\tb", "password=a\tb=c", "password=\tb", "password= a\x0bb"] {
            let Pairs { pairs, mistakes } = pairs(text).expect(text);
            assert_eq!((pairs.len(), pairs[0].0.as_str()), (1, "password"), "{text:?}");
            assert_eq!(pairs[0].1, text["password=".len()..].trim_start_matches(' '));
            assert_eq!(mistakes, [LineError::Tab("password".into())], "{text:?}");
        }
    }

    #[test]
    fn one_character_behind_a_closing_quote_is_left_out() {
        for (text, next) in [
            ("host='a', port=5", "port"),
            ("host='a'; port=5", "port"),
            ("host='a'é port=5", "port"),
            ("host='a'port=5", "ort"),
        ] {
            let Pairs { pairs, mistakes } = pairs(text).expect(text);
            assert_eq!((pairs.len(), pairs[1].0.as_str()), (2, next), "{text}");
            assert_eq!(mistakes, [LineError::AfterQuote("host".into())], "{text}");
        }
        let error = pairs("host='a',, port=5").expect_err("one character is left out, not two");
        assert_eq!(error, LineError::NoEquals(Some("host".into())));
    }
}
