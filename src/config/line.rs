//! What the lines of `[databases]`, `[users]` and `[peers]` share: the connection string, and hosts.
//!
//! A connection string is `key=value` pairs between spaces. A value in single quotes may hold
//! spaces, and two quotes there stand for one. A value must not be empty.

use std::fmt;
use std::ops::Deref;

use super::number;
use super::value::{Field, Kind, ValueError};

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// A name or an address.
    Tcp(String),
    /// The directory of a Unix socket, or its abstract name when it begins with `@`.
    Unix(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(name) | Host::Unix(name) => f.write_str(name),
        }
    }
}

/// The hosts of a line, in order; none means the Unix socket in `unix_socket_dir`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hosts(Vec<Host>);

impl Hosts {
    /// The hosts to connect to, where `socket_dir` stands for a missing list.
    pub fn or_socket_in(&self, socket_dir: &str) -> Vec<Host> {
        if self.0.is_empty() { vec![Host::Unix(socket_dir.to_owned())] } else { self.0.clone() }
    }
}

impl Deref for Hosts {
    type Target = [Host];
    fn deref(&self) -> &[Host] {
        &self.0
    }
}

impl Field for Hosts {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        text.split(',').map(|part| host(part.trim())).collect::<Result<_, _>>().map(Hosts)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        let names: Vec<String> = self.0.iter().map(Host::to_string).collect();
        (!names.is_empty()).then(|| names.join(","))
    }
    fn unset() -> Self {
        Hosts::default()
    }
}

/// One port for every host of a line, or one for each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ports(Vec<u16>);

impl Ports {
    /// The port of the host at `index`.
    pub fn of(&self, index: usize) -> u16 {
        self.0.get(index).or(self.0.first()).copied().unwrap_or_default()
    }
}

impl Deref for Ports {
    type Target = [u16];
    fn deref(&self) -> &[u16] {
        &self.0
    }
}

impl Field for Ports {
    fn read(text: &str, _: &Kind) -> Result<Self, ValueError> {
        text.split(',').map(port).collect::<Result<_, _>>().map(Ports)
    }
    fn show(&self, _: &Kind) -> Option<String> {
        let ports: Vec<String> = self.0.iter().map(u16::to_string).collect();
        Some(ports.join(","))
    }
    fn unset() -> Self {
        Ports::default()
    }
}

fn port(text: &str) -> Result<u16, ValueError> {
    let port = number::decimal(text.trim()).and_then(|port| u16::try_from(port).ok());
    port.filter(|port| *port != 0).ok_or(ValueError::NotAPort)
}

fn host(text: &str) -> Result<Host, ValueError> {
    match text.as_bytes().first() {
        None => Err(ValueError::EmptyPart),
        Some(b'/' | b'@') => Ok(Host::Unix(text.to_owned())),
        Some(_) => Ok(Host::Tcp(text.to_owned())),
    }
}

/// Why a connection string cannot be taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LineError {
    /// No `=` behind this.
    NoEquals(String),
    /// `=` without a key in front.
    NoKey,
    /// This key has no value, or an empty one.
    NoValue(String),
    /// The value of this key begins with a quote that nothing closes.
    Unclosed(String),
    /// Something follows the closing quote of this key's value without a space between.
    AfterQuote(String),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineError::NoEquals(key) => write!(f, "expected \"=\" behind \"{key}\""),
            LineError::NoKey => f.write_str("expected a key before \"=\""),
            LineError::NoValue(key) => write!(f, "expected a value for {key}"),
            LineError::Unclosed(key) => write!(f, "the quote of {key} is not closed"),
            LineError::AfterQuote(key) => {
                write!(f, "expected a space behind the closing quote of {key}")
            }
        }
    }
}

impl std::error::Error for LineError {}

/// Takes a connection string apart, into keys and values in order.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, LineError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (key, tail) = (rest[..end].to_owned(), rest[end..].trim_start_matches(is_space));
        let Some(tail) = tail.strip_prefix('=') else { return Err(LineError::NoEquals(key)) };
        if key.is_empty() {
            return Err(LineError::NoKey);
        }
        let (value, tail) = value_at(&key, tail.trim_start_matches(is_space))?;
        if value.is_empty() {
            return Err(LineError::NoValue(key));
        }
        pairs.push((key, value));
        rest = tail.trim_start_matches(is_space);
    }
    Ok(pairs)
}

/// The value at the start of `text`, and what follows it.
fn value_at<'a>(key: &str, text: &'a str) -> Result<(String, &'a str), LineError> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let end = text.find(is_space).unwrap_or(text.len());
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
    if rest.is_empty() || rest.starts_with(is_space) {
        Ok((value, rest))
    } else {
        Err(LineError::AfterQuote(key.to_owned()))
    }
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs_of(text: &str) -> Vec<(String, String)> {
        pairs(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn pairs_stand_between_spaces_and_quotes_hold_what_is_between_them() {
        let cases: [(&str, &[(&str, &str)]); 9] = [
            ("", &[]),
            ("  host=a\tport=5  ", &[("host", "a"), ("port", "5")]),
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
            ("host", "expected \"=\" behind \"host\""),
            ("a=b host c=d", "expected \"=\" behind \"host\""),
            ("=x", "expected a key before \"=\""),
            ("host=", "expected a value for host"),
            ("host=''", "expected a value for host"),
            ("dbname='a", "the quote of dbname is not closed"),
            ("dbname='a''", "the quote of dbname is not closed"),
            ("dbname='a'port=5", "expected a space behind the closing quote of dbname"),
        ];
        for (text, expected) in cases {
            assert_eq!(pairs(text).expect_err(text).to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn hosts_are_names_addresses_and_socket_directories() {
        let hosts = Hosts::read("a, ::1,/tmp,@abstract", &Kind::Hosts).expect("four hosts");
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        let unix = |name: &str| Host::Unix(name.to_owned());
        assert_eq!(*hosts, [tcp("a"), tcp("::1"), unix("/tmp"), unix("@abstract")]);
        assert_eq!(hosts.show(&Kind::Hosts).as_deref(), Some("a,::1,/tmp,@abstract"));
        assert_eq!(Hosts::default().or_socket_in("/run"), [unix("/run")]);
        assert_eq!(Hosts::default().show(&Kind::Hosts), None);
        for text in ["a,,b", ",a", "a,", ","] {
            assert_eq!(Hosts::read(text, &Kind::Hosts), Err(ValueError::EmptyPart), "{text}");
        }
    }

    #[test]
    fn ports_are_from_1_to_65535() {
        let ports = Ports::read("5432, 010", &Kind::Ports).expect("two ports");
        assert_eq!(*ports, [5432, 10]);
        assert_eq!((ports.of(1), ports.of(2)), (10, 5432));
        for text in ["0", "-1", "65536", "abc", "0x10", "", "1,,2", "99999999999999999999"] {
            assert_eq!(Ports::read(text, &Kind::Ports), Err(ValueError::NotAPort), "{text}");
        }
    }
}
