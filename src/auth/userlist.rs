//! The user list (`auth_file`): lines of a quoted name and a quoted secret.

use std::fmt;

use crate::auth::secret::Secret;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: Box<[u8]>,
    pub secret: Secret,
}

/// What is wrong with the file, and in which line, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: u32,
    pub kind: ProblemKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    Broken,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?}", self.line, self.kind)
    }
}

/// Entries in the order of the file, and what could not be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UserList {
    pub entries: Vec<Entry>,
    pub problems: Vec<Problem>,
}

pub fn parse(text: &[u8]) -> UserList {
    let _ = text;
    UserList::default()
}
