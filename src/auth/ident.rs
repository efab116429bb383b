//! Ident maps (`auth_ident_file`): which system users may log in as which database users. A line is
//! `map-name system-user database-user`; `all` in the last place stands for everyone. There are no
//! regular expressions and no includes, as in PgBouncer.

use std::collections::HashMap;
use std::fmt;

use crate::auth::words::{LineToken, LineTokens, MalformedLine, lines};

/// All maps of the file, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentMaps {
    maps: HashMap<Box<[u8]>, Vec<Mapping>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    system_user: Box<[u8]>,
    user: DatabaseUser,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum DatabaseUser {
    All,
    Named(Box<[u8]>),
}

impl IdentMaps {
    /// Whether `map` lets `system_user` in as `user`.
    pub fn allows(&self, map: &[u8], system_user: &[u8], user: &[u8]) -> bool {
        let mappings = self.maps.get(map).map_or(&[][..], Vec::as_slice);
        mappings.iter().any(|mapping| {
            *mapping.system_user == *system_user
                && match &mapping.user {
                    DatabaseUser::All => true,
                    DatabaseUser::Named(name) => **name == *user,
                }
        })
    }

    /// Whether the file has a map of that name.
    pub fn has(&self, map: &[u8]) -> bool {
        self.maps.contains_key(map)
    }
}

/// What is wrong with a line, which is then left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentProblem {
    /// Counted from 1.
    pub line: u32,
    pub kind: IdentProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentProblemKind {
    Malformed,
    MissingField,
    UnexpectedField,
}

impl fmt::Display for IdentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            IdentProblemKind::Malformed => "quote is not closed, or NUL byte",
            IdentProblemKind::MissingField => "map name, system user and database user expected",
            IdentProblemKind::UnexpectedField => "nothing more expected after the database user",
        };
        write!(f, "line {}: {what}", self.line)
    }
}

/// The maps, and the lines that were left out.
pub fn parse(text: &[u8]) -> (IdentMaps, Vec<IdentProblem>) {
    let (mut maps, mut problems) = (IdentMaps::default(), Vec::new());
    for (line, content) in lines(text) {
        match parse_line(content) {
            Ok(Some((name, mapping))) => maps.maps.entry(name).or_default().push(mapping),
            Ok(None) => {}
            Err(kind) => problems.push(IdentProblem { line, kind }),
        }
    }
    (maps, problems)
}

/// The name of a map, and what the line adds to it.
type Addition = (Box<[u8]>, Mapping);

fn parse_line(line: &[u8]) -> Result<Option<Addition>, IdentProblemKind> {
    let mut words = LineTokens::of(line);
    let name = match words.next()? {
        None => return Ok(None),
        Some(LineToken::Word(name)) => name.into(),
        Some(LineToken::Comma | LineToken::Quoted(_)) => {
            return Err(IdentProblemKind::MissingField);
        }
    };
    let system_user = match words.next()? {
        Some(LineToken::Word(user)) => user.into(),
        Some(LineToken::Quoted(user)) => user,
        Some(LineToken::Comma) | None => return Err(IdentProblemKind::MissingField),
    };
    let user = match words.next()? {
        Some(LineToken::Word(b"all")) => DatabaseUser::All,
        Some(LineToken::Word(user)) => DatabaseUser::Named(user.into()),
        Some(LineToken::Quoted(user)) => DatabaseUser::Named(user),
        Some(LineToken::Comma) | None => return Err(IdentProblemKind::MissingField),
    };
    match words.next()? {
        None => Ok(Some((name, Mapping { system_user, user }))),
        Some(_) => Err(IdentProblemKind::UnexpectedField),
    }
}

impl From<MalformedLine> for IdentProblemKind {
    fn from(_: MalformedLine) -> IdentProblemKind {
        IdentProblemKind::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_lets_in_exactly_whom_it_names() {
        let text =
            b"# who is who\nm root app # comment\r\nm root \"all\"\nm ops all\nn \"x y\" app";
        let (maps, problems) = parse(text);
        assert_eq!(problems, []);
        assert!(maps.has(b"m") && maps.has(b"n") && !maps.has(b"M"));
        for (map, system_user, user, is_allowed) in [
            ("m", "root", "app", true),
            ("m", "root", "all", true),
            ("m", "root", "other", false),
            ("m", "ROOT", "app", false),
            ("m", "ops", "anyone", true),
            ("n", "x y", "app", true),
            ("n", "root", "app", false),
            ("o", "root", "app", false),
        ] {
            let allowed = maps.allows(map.as_bytes(), system_user.as_bytes(), user.as_bytes());
            assert_eq!(allowed, is_allowed, "{map} {system_user} {user}");
        }
    }

    #[test]
    fn a_bad_line_is_named_and_left_out() {
        let text = b"m\nm root\n\"m\" a b\nm,a,b\nm a b c\nm a \"b\nm a b,c\nm root app\n";
        let (maps, problems) = parse(text);
        assert!(maps.allows(b"m", b"root", b"app"));
        assert!(!maps.allows(b"m", b"a", b"b"));
        let kinds: Vec<_> = problems.iter().map(|p| (p.line, p.kind)).collect();
        assert_eq!(
            kinds,
            [
                (1, IdentProblemKind::MissingField),
                (2, IdentProblemKind::MissingField),
                (3, IdentProblemKind::MissingField),
                (4, IdentProblemKind::MissingField),
                (5, IdentProblemKind::UnexpectedField),
                (6, IdentProblemKind::Malformed),
                (7, IdentProblemKind::UnexpectedField),
            ]
        );
        let shown = problems[0].to_string();
        assert_eq!(shown, "line 1: map name, system user and database user expected");
    }
}
