//! The text of an HBA file, made into rules.
//!
//! The format is that of `pg_hba.conf` as far as PgBouncer knows it: `local`, `host`, `hostssl`,
//! `hostnossl`; lists of names, `all`, `sameuser`, `replication`, `@file`; addresses with length or
//! mask; `map=`. A line that cannot be read is named and left out, and the rules after it count, as
//! in PgBouncer. An `ldap` line whose options make no sense is named and stays: it refuses whom it
//! matches, since PgBouncer would not let them try the rules below either.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::hba::{Databases, HbaRules, Method, Names, Network, Origin, Rule};
use crate::auth::ident::IdentMaps;
use crate::auth::inquiry::{Judge, PAM_SERVICE};
use crate::auth::ldap::{Directory, OptionError};
use crate::auth::words::{Malformed, Token, Words, lines};

/// Gives the content of a file named by `@file`, or None if it cannot be read. A relative name
/// starts from the directory of the HBA file.
pub type ReadFile<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Vec<u8>>;

/// The rules, and what is wrong with lines.
pub fn parse(text: &[u8], maps: &IdentMaps, read: ReadFile<'_>) -> (HbaRules, Vec<Problem>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    let mut files = Files { read, left: FILES_MAX };
    for (line, content) in lines(text) {
        match parse_rule(line, content, maps, &mut files) {
            Ok(Some((rule, problem))) => {
                problems
                    .extend(problem.map(|error| Problem { line, kind: ProblemKind::Ldap(error) }));
                rules.push(rule);
            }
            Ok(None) => {}
            Err(kind) => problems.push(Problem { line, kind }),
        }
    }
    (HbaRules::new(rules), problems)
}

/// What is wrong with a line. It is left out, but for [`ProblemKind::Ldap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: u32,
    pub kind: ProblemKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    Address,
    AddressOutsideMask,
    ConnectionType,
    /// An `@file` cannot be read.
    File,
    /// The options of an `ldap` line: it stays, and refuses whom it matches.
    Ldap(OptionError),
    Malformed,
    MapUnknown,
    Mask,
    Method,
    /// Neither nothing nor `map=NAME` behind the method, or, behind `pam`, `pamservice=NAME`.
    Option,
    Names,
    /// An `@file` names files, that name files ...
    TooManyFiles,
    /// A word that PostgreSQL knows and PgBouncer does not.
    Unsupported(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            ProblemKind::Address => f.write_str("address is neither `all` nor IPv4 nor IPv6"),
            ProblemKind::AddressOutsideMask => {
                f.write_str("address has bits that its mask leaves out, nobody would match")
            }
            ProblemKind::ConnectionType => {
                f.write_str("`local`, `host`, `hostssl` or `hostnossl` expected")
            }
            ProblemKind::File => f.write_str("cannot read the file named behind @"),
            ProblemKind::Ldap(error) => write!(f, "{error}; whom the line matches is refused"),
            ProblemKind::Malformed => f.write_str("quote is not closed, or NUL byte"),
            ProblemKind::MapUnknown => f.write_str("ident map is not in auth_ident_file"),
            ProblemKind::Mask => f.write_str("network mask expected, as a length or an address"),
            ProblemKind::Method => f.write_str(
                "method expected: cert, ldap, md5, pam, password, peer, reject, scram-sha-256 or \
                 trust",
            ),
            ProblemKind::Option => f.write_str(
                "only map=NAME may follow the method, or pamservice=NAME where that is pam",
            ),
            ProblemKind::Names => f.write_str("names expected, with commas between"),
            ProblemKind::TooManyFiles => {
                f.write_str("files named behind @ are too many, too deep, or in a circle")
            }
            ProblemKind::Unsupported(word) => write!(f, "{word} is not supported"),
        }
    }
}

impl From<Malformed> for ProblemKind {
    fn from(_: Malformed) -> ProblemKind {
        ProblemKind::Malformed
    }
}

/// The files behind `@`, and how many more may be read.
struct Files<'a> {
    read: ReadFile<'a>,
    left: u32,
}

fn parse_rule(
    line: u32,
    content: &[u8],
    maps: &IdentMaps,
    files: &mut Files<'_>,
) -> Result<Option<(Rule, Option<OptionError>)>, ProblemKind> {
    let mut words = Words::of(content);
    let tls = match words.next()? {
        None => return Ok(None),
        Some(Token::Word(b"local")) => None,
        Some(Token::Word(b"host")) => Some(None),
        Some(Token::Word(b"hostssl")) => Some(Some(true)),
        Some(Token::Word(b"hostnossl")) => Some(Some(false)),
        Some(_) => return Err(ProblemKind::ConnectionType),
    };
    let mut databases = Databases::default();
    read_names(&mut words, files, 0, &mut |item| databases.add(item))?;
    let mut users = Names::default();
    read_names(&mut words, files, 0, &mut |item| users.add(item))?;
    let origin = match tls {
        None => Origin::Local,
        Some(tls) => Origin::Remote { tls, network: parse_network(&mut words)? },
    };
    let method = parse_method(&mut words)?;
    let mut rule = Rule { line, method, map: None, judge: None, origin, databases, users };
    let mut problem = None;
    match method {
        Method::Ldap => match Directory::parse(words.rest()) {
            Ok(directory) => rule.judge = Some(Judge::Ldap(Box::new(directory))),
            Err(error) => problem = Some(error),
        },
        Method::Pam => rule.judge = Some(Judge::Pam { service: parse_service(&mut words)? }),
        _ => rule.map = parse_map(&mut words, maps)?,
    }
    Ok(Some((rule, problem)))
}

/// One name of a list: quoted ones stand for themselves.
enum Item<'a> {
    Name(Box<[u8]>),
    Word(&'a [u8]),
}

impl Names {
    fn add(&mut self, item: Item<'_>) -> Result<(), ProblemKind> {
        let name = match item {
            Item::Word(b"all") => {
                self.has_all = true;
                return Ok(());
            }
            Item::Word([b'+', ..]) => return Err(ProblemKind::Unsupported("+group")),
            Item::Word(word) => word.into(),
            Item::Name(name) => name,
        };
        self.names.insert(name);
        Ok(())
    }
}

impl Databases {
    fn add(&mut self, item: Item<'_>) -> Result<(), ProblemKind> {
        match item {
            Item::Word(b"sameuser") => self.has_same_user = true,
            Item::Word(b"replication") => self.has_replication = true,
            Item::Word(b"samerole") => return Err(ProblemKind::Unsupported("samerole")),
            Item::Word(b"samegroup") => return Err(ProblemKind::Unsupported("samegroup")),
            other => return self.names.add(other),
        }
        Ok(())
    }
}

type AddItem<'a> = &'a mut dyn FnMut(Item<'_>) -> Result<(), ProblemKind>;

/// Takes names up to one that no comma follows.
fn read_names(
    words: &mut Words<'_>,
    files: &mut Files<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), ProblemKind> {
    loop {
        read_name(words, files, depth, add)?;
        if words.peek()? != Some(Token::Comma) {
            return Ok(());
        }
        words.next()?;
    }
}

fn read_name(
    words: &mut Words<'_>,
    files: &mut Files<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), ProblemKind> {
    match words.next()? {
        Some(Token::Quoted(name)) => add(Item::Name(name)),
        Some(Token::Word([b'@', file @ ..])) if !file.is_empty() => {
            read_file(file, files, depth + 1, add)
        }
        Some(Token::Word(word)) => add(Item::Word(word)),
        Some(Token::Comma) | None => Err(ProblemKind::Names),
    }
}

/// Takes all names of a file, which stand in lines, or between spaces or commas.
fn read_file(
    file: &[u8],
    files: &mut Files<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), ProblemKind> {
    if depth > FILE_DEPTH_MAX || files.left == 0 {
        return Err(ProblemKind::TooManyFiles);
    }
    files.left -= 1;
    let text = (files.read)(file).ok_or(ProblemKind::File)?;
    for (_, line) in lines(&text) {
        let mut words = Words::of(line);
        while let Some(token) = words.peek()? {
            if token == Token::Comma {
                words.next()?;
            } else {
                read_name(&mut words, files, depth, add)?;
            }
        }
    }
    Ok(())
}

/// Files that name files: as deep as `%include` in the configuration.
const FILE_DEPTH_MAX: u32 = 10;

/// Files read for one HBA file. Without it a few files that name each other several times would be
/// read for hours.
const FILES_MAX: u32 = 1000;

fn parse_network(words: &mut Words<'_>) -> Result<Network, ProblemKind> {
    let Some(Token::Word(text)) = words.next()? else { return Err(ProblemKind::Address) };
    if text == b"all" {
        return Ok(Network::All);
    }
    let text = std::str::from_utf8(text).map_err(|_| ProblemKind::Address)?;
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| ProblemKind::Address)?;
    let mask = match len {
        Some(len) => mask_of_len(address, len).ok_or(ProblemKind::Mask)?,
        None => parse_mask(words)?,
    };
    masked(address, mask)
}

/// Refused when `address` has bits outside the mask: nobody could match.
fn masked(address: IpAddr, mask: IpAddr) -> Result<Network, ProblemKind> {
    let network = match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            Network::V4 { address: address.to_bits(), mask: mask.to_bits() }
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            Network::V6 { address: address.to_bits(), mask: mask.to_bits() }
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(ProblemKind::Mask);
        }
    };
    if network.has(address) { Ok(network) } else { Err(ProblemKind::AddressOutsideMask) }
}

/// The mask of so many bits; none and a `+` in front are taken as PgBouncer takes them.
fn mask_of_len(address: IpAddr, len: &str) -> Option<IpAddr> {
    let digits = len.strip_prefix('+').unwrap_or(len);
    if !digits.bytes().all(|b| b.is_ascii_digit()) || digits.is_empty() != len.is_empty() {
        return None;
    }
    let len: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    match address {
        IpAddr::V4(_) => {
            let bits = u32::MAX.checked_shl(32_u32.checked_sub(len)?).unwrap_or(0);
            Some(Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(_) => {
            let bits = u128::MAX.checked_shl(128_u32.checked_sub(len)?).unwrap_or(0);
            Some(Ipv6Addr::from_bits(bits).into())
        }
    }
}

fn parse_mask(words: &mut Words<'_>) -> Result<IpAddr, ProblemKind> {
    let Some(Token::Word(text)) = words.next()? else { return Err(ProblemKind::Mask) };
    let text = std::str::from_utf8(text).map_err(|_| ProblemKind::Mask)?;
    text.parse().map_err(|_| ProblemKind::Mask)
}

fn parse_method(words: &mut Words<'_>) -> Result<Method, ProblemKind> {
    let Some(Token::Word(word)) = words.next()? else { return Err(ProblemKind::Method) };
    let method = METHODS.iter().find(|(name, _)| name.as_bytes() == word);
    method.map(|&(_, method)| method).ok_or(ProblemKind::Method)
}

/// As they are written in the file. `any` is a method for `auth_type` alone.
const METHODS: [(&str, Method); 9] = [
    ("cert", Method::Cert),
    ("ldap", Method::Ldap),
    ("md5", Method::Md5),
    ("pam", Method::Pam),
    ("password", Method::Plain),
    ("peer", Method::Peer),
    ("reject", Method::Reject),
    ("scram-sha-256", Method::ScramSha256),
    ("trust", Method::Trust),
];

fn parse_map(words: &mut Words<'_>, maps: &IdentMaps) -> Result<Option<Box<[u8]>>, ProblemKind> {
    let map = match words.next()? {
        None => return Ok(None),
        Some(Token::Word(word)) => word.strip_prefix(b"map=").ok_or(ProblemKind::Option)?,
        Some(Token::Comma | Token::Quoted(_)) => return Err(ProblemKind::Option),
    };
    if words.next()?.is_some() {
        return Err(ProblemKind::Option);
    }
    if maps.has(map) { Ok(Some(map.into())) } else { Err(ProblemKind::MapUnknown) }
}

/// `pamservice=NAME`. PAM looks for a file of that name, which must stay in its folder.
fn parse_service(words: &mut Words<'_>) -> Result<Box<str>, ProblemKind> {
    let service = match words.next()? {
        None => return Ok(PAM_SERVICE.into()),
        Some(Token::Word(word)) => word.strip_prefix(b"pamservice=").ok_or(ProblemKind::Option)?,
        Some(Token::Comma | Token::Quoted(_)) => return Err(ProblemKind::Option),
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if words.next()?.is_some() || service.is_empty() || !service.iter().all(is_plain) {
        return Err(ProblemKind::Option);
    }
    Ok(String::from_utf8_lossy(service).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::hba::Visitor;
    use crate::auth::ident;

    fn no_file(_: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn problem(line: &str) -> ProblemKind {
        let text = format!("{line}\nhost all all all trust\n");
        let (rules, problems) = parse(text.as_bytes(), &IdentMaps::default(), &mut no_file);
        assert_eq!((rules.rules().len(), problems.len()), (1, 1), "{line}");
        assert_eq!((rules.rules()[0].line, problems[0].line), (2, 1));
        problems[0].kind.clone()
    }

    #[test]
    fn a_bad_line_is_named_and_left_out() {
        for (line, kind) in [
            ("junk", ProblemKind::ConnectionType),
            ("HOST all all all trust", ProblemKind::ConnectionType),
            ("\"host\" all all all trust", ProblemKind::ConnectionType),
            ("; comment", ProblemKind::ConnectionType),
            ("hostgssenc all all all trust", ProblemKind::ConnectionType),
            ("include other", ProblemKind::ConnectionType),
            ("host", ProblemKind::Names),
            ("host all", ProblemKind::Names),
            ("host ,x all all trust", ProblemKind::Names),
            ("host all ,u all trust", ProblemKind::Address),
            ("host all +u all trust", ProblemKind::Unsupported("+group")),
            ("host samerole all all trust", ProblemKind::Unsupported("samerole")),
            ("host samegroup all all trust", ProblemKind::Unsupported("samegroup")),
            ("host all @none all trust", ProblemKind::File),
            ("host all \"u all trust", ProblemKind::Malformed),
            ("host all u\0x all trust", ProblemKind::Malformed),
            ("host all all", ProblemKind::Address),
            ("host all all \"all\" trust", ProblemKind::Address),
            ("host all all localhost trust", ProblemKind::Address),
            ("host all all samehost trust", ProblemKind::Address),
            ("host all all 127.1/8 trust", ProblemKind::Address),
            ("host all all 0127.0.0.1/32 trust", ProblemKind::Address),
            ("host all all \u{e9}/8 trust", ProblemKind::Address),
            ("host all u, all trust", ProblemKind::Address),
            ("host all all 127.0.0.1 trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/33 trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/-1 trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/+ trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/+-8 trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/0x8 trust", ProblemKind::Mask),
            ("host all all 127.0.0.0/ trust", ProblemKind::AddressOutsideMask),
            ("host all all 0/0 trust", ProblemKind::Address),
            ("host all all ALL trust", ProblemKind::Address),
            ("host all all all trust ; comment", ProblemKind::Option),
            ("host all all all md5 clientcert=1", ProblemKind::Option),
            ("host all all 127.0.0.0/99999999999 trust", ProblemKind::Mask),
            ("host all all ::1/129 trust", ProblemKind::Mask),
            ("host all all ::1 255.0.0.0 trust", ProblemKind::Mask),
            ("host all all 127.0.0.1/8 trust", ProblemKind::AddressOutsideMask),
            ("host all all all", ProblemKind::Method),
            ("local all all all trust", ProblemKind::Method),
            ("host all all all TRUST", ProblemKind::Method),
            ("host all all all \"trust\"", ProblemKind::Method),
            ("host all all all any", ProblemKind::Method),
            ("host all all all pam map=m", ProblemKind::Option),
            ("host all all all pam pamservice=", ProblemKind::Option),
            ("host all all all pam pamservice=../x", ProblemKind::Option),
            ("host all all all pam pamservice=a pamservice=b", ProblemKind::Option),
            ("host all all 127.0.0.1/32,10.0.0.0/8 trust", ProblemKind::Method),
            ("host all all all trust junk", ProblemKind::Option),
            ("host all all all trust MAP=m", ProblemKind::Option),
            ("host all all all trust \"map=m\"", ProblemKind::Option),
            ("host all all all trust map=m x", ProblemKind::Option),
            ("host all all all peer map=m", ProblemKind::MapUnknown),
            ("host all all all peer map=", ProblemKind::MapUnknown),
        ] {
            assert_eq!(problem(line), kind, "{line}");
        }
    }

    #[test]
    fn maps_and_judges_are_kept() {
        let (maps, _) = ident::parse(b"m root u");
        let text = b"local all all peer map=m # x\n\
            host all all all ldap ldapserver=h ldapsuffix=\"@a b\" # x\n\
            host all all all ldap ldapserver=h\n\
            host all all all pam\nhost all all all pam pamservice=x\n";
        let (rules, problems) = parse(text, &maps, &mut no_file);
        let kind = ProblemKind::Ldap(OptionError::Neither);
        assert_eq!(problems, [Problem { line: 3, kind }]);
        let rules = rules.rules();
        assert_eq!(rules[0].map.as_deref(), Some(&b"m"[..]));
        let directory = Directory::parse(b"ldapserver=h ldapsuffix=\"@a b\"").unwrap();
        assert_eq!(rules[1].judge, Some(Judge::Ldap(Box::new(directory))));
        assert_eq!((rules[2].method, &rules[2].judge), (Method::Ldap, &None));
        assert_eq!(rules[3].judge, Some(Judge::pam()));
        assert_eq!(rules[4].judge, Some(Judge::Pam { service: "x".into() }));
    }

    #[test]
    fn files_of_names_are_read_and_circles_end() {
        let mut read = |file: &[u8]| match file {
            b"users" => Some(b"# comment\nv w,x\n\"all\" @more\n".to_vec()),
            b"more" => Some(b"u".to_vec()),
            b"circle" => Some(b"u @circle".to_vec()),
            b"group" => Some(b"+u".to_vec()),
            b"databases" => Some(b"sameuser,replication".to_vec()),
            _ => None,
        };
        let text = b"host @databases all all reject\nhost all @users,y all trust\n\
            host all @circle all trust\nhost all @group all trust\nhost all @\"users\" all trust\n";
        let (rules, problems) = parse(text, &IdentMaps::default(), &mut read);
        let kinds: Vec<_> = problems.iter().map(|p| (p.line, p.kind.clone())).collect();
        assert_eq!(
            kinds,
            [
                (3, ProblemKind::TooManyFiles),
                (4, ProblemKind::Unsupported("+group")),
                (5, ProblemKind::Address)
            ]
        );
        let visitor = |user: &'static str, database: &'static [u8]| Visitor {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            has_tls: false,
            wants_replication: false,
            database,
            user: user.as_bytes(),
        };
        for (user, is_match) in [("u", true), ("w", true), ("y", true), ("other", false)] {
            assert_eq!(rules.find(&visitor(user, b"x")).is_some(), is_match, "{user}");
        }
        let same = rules.find(&visitor("other", b"other")).unwrap();
        assert_eq!((same.line, same.method, same.method.login()), (1, Method::Reject, None));
    }
}
