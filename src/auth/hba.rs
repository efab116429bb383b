//! HBA rules (`auth_hba_file`): who may connect from where to what, and by which method.

use std::fmt;
use std::net::IpAddr;

/// The connection that asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// None for a Unix socket.
    pub address: Option<IpAddr>,
    pub has_tls: bool,
    pub wants_replication: bool,
    pub database: &'a [u8],
    pub user: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Cert,
    Ldap,
    Md5,
    Pam,
    Peer,
    Plain,
    Reject,
    ScramSha256,
    Trust,
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Counted from 1, for log lines.
    pub line: u32,
    pub method: Method,
    /// `map=`: the ident map to go through, for `peer` and `cert`.
    pub map: Option<Box<[u8]>>,
    /// Everything behind the method, for `ldap`.
    pub options: Box<[u8]>,
}

/// Rules in the order of the file: the first that matches decides.
#[derive(Debug, Default)]
pub struct HbaRules {
    rules: Vec<Rule>,
}

/// What is wrong with a line.
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

/// `read` gives the content of a file named by `@file`, or None if it cannot be read.
pub fn parse(
    text: &[u8],
    read: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> (HbaRules, Vec<Problem>) {
    let _ = (text, read);
    (HbaRules::default(), Vec::new())
}

impl HbaRules {
    /// The first rule that matches; without one nobody comes in.
    pub fn find(&self, visitor: &Visitor<'_>) -> Option<&Rule> {
        let _ = visitor;
        self.rules.first()
    }
}
