//! The user list (`auth_file`): lines of a quoted name and a quoted secret. A doubled quote stands
//! for one, what follows the secret is ignored, and `;` begins a comment line.
//!
//! PgBouncer stops at the first line that it cannot read, or takes the next quoted text in the file
//! for a missing secret. Here each such line is reported and left out, and the other lines count.
//! What PgBouncer reads without complaint means the same here.

use std::borrow::Cow;
use std::fmt;

use crate::auth::known::{Known, KnownReading};
use crate::auth::secret::{PASSWORD_BYTES_MAX, Secret};
use crate::base::text::{find_either, is_space};

/// The longest user name, in bytes, as in PgBouncer.
pub const USER_BYTES_MAX: usize = 127;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserListEntry {
    New {
        /// Bytes that are not UTF-8 are replaced.
        name: String,
        secret: Secret,
    },
    /// The entry that stood at this place when the file was last read.
    Same(usize),
}

/// What the file holds. Of two entries with one name the later counts.
#[derive(Debug, Default)]
pub struct UserList {
    /// In the order of the file.
    pub entries: Vec<UserListEntry>,
    /// Lines that were left out.
    pub problems: Vec<UserListProblem>,
    /// Hashes by which the next reading finds what has changed.
    pub known: Known,
}

/// What is wrong with a line, which is then left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserListProblem {
    /// Counted from 1.
    pub line: u32,
    pub kind: UserListProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserListProblemKind {
    NoName,
    NoSecret,
    NameTooLong,
    NulByte,
    OpenQuote,
    SecretTooLong,
}

impl fmt::Display for UserListProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match self.kind {
            UserListProblemKind::NoName => f.write_str("user name in double quotes expected"),
            UserListProblemKind::NoSecret => {
                f.write_str("secret in double quotes expected after the name")
            }
            UserListProblemKind::NameTooLong => {
                write!(f, "user name is longer than {USER_BYTES_MAX} bytes")
            }
            UserListProblemKind::NulByte => f.write_str("NUL byte"),
            UserListProblemKind::OpenQuote => f.write_str("quote is not closed"),
            UserListProblemKind::SecretTooLong => {
                write!(f, "secret is longer than {PASSWORD_BYTES_MAX} bytes")
            }
        }
    }
}

/// Reads a user list; None if the file is as it was `before`.
pub fn parse_changed(text: &[u8], before: &Known) -> Option<UserList> {
    before.reading(text).map(|reading| read(text, reading))
}

/// Reads a user list of which nothing is known.
#[cfg(test)]
pub fn parse(text: &[u8]) -> UserList {
    parse_changed(text, &Known::default()).expect("nothing is known")
}

/// Reads a user list, and compares it with what it was before. A quoted text may go on over line
/// ends if white space or the end of the file follows its closing quote. Otherwise the closing
/// quote was forgotten, and the quote found is the opening one of a later text.
fn read(text: &[u8], mut reading: KnownReading<'_>) -> UserList {
    let mut list = UserList::default();
    let mut reader = UserListReader { text, at: 0, line: 1, counted: 0 };
    while let Some(byte) = reader.skip_space() {
        let at = reader.at;
        let done = match byte {
            b';' | b'#' => Ok(()),
            b'"' => reader.entry(&mut reading).map(|entry| list.entries.push(entry)),
            _ => Err(UserListProblemKind::NoName),
        };
        if let Err(kind) = done {
            list.problems.push(UserListProblem { line: reader.line_of(at), kind });
            reader.at = at;
        }
        reader.skip_line();
    }
    list.known = reading.done(list.problems.is_empty());
    list
}

struct UserListReader<'a> {
    text: &'a [u8],
    at: usize,
    /// The line number at `counted`. Lines are only counted where something is wrong.
    line: u32,
    counted: usize,
}

impl<'a> UserListReader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// The first byte that is not space, or None at the end of the file.
    fn skip_space(&mut self) -> Option<u8> {
        while let Some(&byte) = self.rest().first() {
            if !is_space(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |end| end + 1);
    }

    /// The line number of a place, which must not be before the one asked for last.
    fn line_of(&mut self, at: usize) -> u32 {
        let ends = self.text[self.counted..at].iter().filter(|&&b| b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        self.counted = at;
        self.line
    }

    /// Name and secret, from the name's opening quote on.
    fn entry(
        &mut self,
        reading: &mut KnownReading<'_>,
    ) -> Result<UserListEntry, UserListProblemKind> {
        let begin = self.at;
        let name = self.quoted()?;
        if name.len() > USER_BYTES_MAX {
            return Err(UserListProblemKind::NameTooLong);
        }
        let rest = self.rest();
        let gap = rest.iter().position(|&b| matches!(b, b'"' | b'\n' | 0));
        match gap.map(|gap| (gap, rest[gap])) {
            Some((gap, b'"')) => self.at += gap,
            Some((_, 0)) => return Err(UserListProblemKind::NulByte),
            _ => return Err(UserListProblemKind::NoSecret),
        }
        let secret = self.quoted()?;
        if secret.len() > PASSWORD_BYTES_MAX {
            return Err(UserListProblemKind::SecretTooLong);
        }
        Ok(match reading.place(&self.text[begin..self.at]) {
            Some(place) => UserListEntry::Same(place),
            None => UserListEntry::New {
                name: String::from_utf8_lossy(&name).into_owned(),
                secret: Secret::parse(&secret),
            },
        })
    }

    /// A quoted text, from its opening quote on. It is copied only where a doubled quote is in it.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, UserListProblemKind> {
        let mut text: Cow<[u8]> = Cow::default();
        let mut rest = &self.text[self.at + 1..];
        loop {
            let len = find_either(rest, [b'"', 0]).ok_or(UserListProblemKind::OpenQuote)?;
            match text.is_empty() {
                true => text = Cow::Borrowed(&rest[..len]),
                false => text.to_mut().extend_from_slice(&rest[..len]),
            }
            match rest[len..] {
                [0, ..] => return Err(UserListProblemKind::NulByte),
                [b'"', b'"', ..] => {
                    text.to_mut().push(b'"');
                    rest = &rest[len + 2..];
                }
                _ => {
                    rest = &rest[len + 1..];
                    break;
                }
            }
        }
        let is_followed_by_space = rest.first().is_none_or(|&b| is_space(b));
        if !is_followed_by_space && text.contains(&b'\n') {
            return Err(UserListProblemKind::OpenQuote);
        }
        self.at = self.text.len() - rest.len();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and plain secrets, as `name=secret`, and problems, as `line kind`.
    fn parsed(text: &str) -> (Vec<String>, Vec<(u32, UserListProblemKind)>) {
        let list = parse(text.as_bytes());
        let shown = |entry: &UserListEntry| {
            let UserListEntry::New { name, secret: Secret::Plain(secret) } = entry else {
                panic!("{entry:?}")
            };
            format!("{name}={}", String::from_utf8_lossy(secret.as_bytes()))
        };
        let problems = list.problems.iter().map(|p| (p.line, p.kind)).collect();
        (list.entries.iter().map(shown).collect(), problems)
    }

    #[test]
    fn what_pgbouncer_reads_means_the_same() {
        for (text, entries) in [
            ("", &[][..]),
            ("\n\n  \n", &[]),
            ("\"u\" \"p\"", &["u=p"]),
            ("\"u\" \"p\"\r\n\"v\" \"q\"\r\n", &["u=p", "v=q"]),
            ("  \"u\"\t\t\"p\" \"more\" ignored\n\"v\" \"q\"", &["u=p", "v=q"]),
            ("\"u\" x\"p\"", &["u=p"]),
            ("\x0c\"u\"\x0b\"p\"", &["u=p"]),
            ("; comment \"x\" \"y\"\n\"u\" \"p\"\n  ; comment\n", &["u=p"]),
            ("\"a\"\"b\" \"p\"\"w\"", &["a\"b=p\"w"]),
            ("\"\" \"\"", &["="]),
            ("\"u\nv\" \"p\n\nq\"\n\"w\" \"x\"", &["u\nv=p\n\nq", "w=x"]),
            ("\"u\" \"1\"\n\"u\" \"2\"", &["u=1", "u=2"]),
            ("\"\u{e9}\" \"\u{1f511}\"", &["\u{e9}=\u{1f511}"]),
        ] {
            assert_eq!(parsed(text), (entries.iter().map(ToString::to_string).collect(), vec![]));
        }
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_and_left_out() {
        for (line, kind) in [
            ("u \"p\"", UserListProblemKind::NoName),
            ("u p", UserListProblemKind::NoName),
            ("\0", UserListProblemKind::NoName),
            ("\"u\"", UserListProblemKind::NoSecret),
            ("\"u\" p", UserListProblemKind::NoSecret),
            ("\"u\"\"p\"", UserListProblemKind::NoSecret),
            ("\"u\" \"p", UserListProblemKind::OpenQuote),
            ("\"u", UserListProblemKind::OpenQuote),
            ("\"u\0\" \"p\"", UserListProblemKind::NulByte),
            ("\"u\" \"p\0\"", UserListProblemKind::NulByte),
            ("\"u\" \0\"p\"", UserListProblemKind::NulByte),
        ] {
            let text = format!("\"first\" \"x\"\n{line}\n\"last\" \"x\"\n");
            let expected = (vec!["first=x".into(), "last=x".into()], vec![(2, kind)]);
            assert_eq!(parsed(&text), expected, "{line:?}");
        }
    }

    #[test]
    fn names_and_secrets_have_bounds() {
        let line = |name: usize, secret: usize| {
            format!("\"{}\" \"{}\"", "n".repeat(name), "s".repeat(secret))
        };
        assert_eq!(parsed(&line(127, 65_535)).1, []);
        assert_eq!(parsed(&line(128, 1)).1, [(1, UserListProblemKind::NameTooLong)]);
        assert_eq!(parsed(&line(1, 65_536)).1, [(1, UserListProblemKind::SecretTooLong)]);
    }

    #[test]
    fn lines_are_counted_through_quotes_and_comments() {
        let (_, problems) =
            parsed("; one\n\"two\nthree\" \"p\nfour\"\n\nsix\n\"seven\" \"p\"\neight");
        assert_eq!(problems, [(6, UserListProblemKind::NoName), (8, UserListProblemKind::NoName)]);
        let problem = UserListProblem { line: 6, kind: UserListProblemKind::NoName };
        assert_eq!(problem.to_string(), "line 6: user name in double quotes expected");
    }

    #[test]
    fn secrets_are_classified() {
        let text = b"\"u\" \"md5b350798a23d7544eb353a6f8dca231c2\"";
        let list = parse(text);
        assert!(matches!(list.entries[0], UserListEntry::New { secret: Secret::Md5(_), .. }));
        assert!(parse_changed(text, &list.known).is_none(), "it is as it was");
        let text = [&text[..], b"\n"].concat();
        let again = parse_changed(&text, &list.known).expect("another text");
        assert_eq!(again.entries, [UserListEntry::Same(0)]);
    }
}
