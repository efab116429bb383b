//! The text of an HBA file, made into rules.
//!
//! The format is that of `pg_hba.conf` as far as PgBouncer knows it: `local`, `host`, `hostssl`,
//! `hostnossl`; lists of names, `all`, `sameuser`, `replication`, `@file`; addresses with length or
//! mask; `map=`. A line that cannot be parsed is reported and left out, and the rules after it
//! count, as in PgBouncer. An `ldap` line whose options make no sense is reported and stays: it
//! refuses every client that it matches, since PgBouncer would not let such a client try the rules
//! below either. A line with an `@file` that says more than is read is reported and stays, too.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::auth::hba::{Databases, HbaMethod, HbaNames, HbaNetwork, HbaOrigin, HbaRules, Rule};
use crate::auth::ident::IdentMaps;
use crate::auth::inquiry::{Judge, PAM_SERVICE};
use crate::auth::ldap::{Directory, OptionError};
use crate::auth::words::{LineToken, LineTokens, MalformedLine, lines};

/// Gives the content of a file named by `@file`, or None if it cannot be read. A relative name
/// starts from the directory of the HBA file.
pub type ReadFile<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Vec<u8>>;

/// The rules, and the problems of lines.
pub fn parse(text: &[u8], maps: &IdentMaps, read: ReadFile<'_>) -> (HbaRules, Vec<HbaProblem>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    let mut files = NameFiles { read, left: FILES_MAX, has_more: false };
    for (line, content) in lines(text) {
        match parse_rule(line, content, maps, &mut files) {
            Ok(Some((rule, problem))) => {
                problems.extend(problem.map(|kind| HbaProblem { line, kind }));
                rules.push(rule);
            }
            Ok(None) => {}
            Err(kind) => problems.push(HbaProblem { line, kind }),
        }
    }
    (HbaRules::new(rules), problems)
}

/// What is wrong with a line, which is then left out, except for [`HbaProblemKind::AfterNames`] and
/// [`HbaProblemKind::Ldap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HbaProblem {
    /// Counted from 1.
    pub line: u32,
    pub kind: HbaProblemKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HbaProblemKind {
    Address,
    AddressOutsideMask,
    /// A line of an `@file` goes on behind its list of names. The list counts, as in PgBouncer.
    AfterNames,
    ConnectionType,
    /// An `@file` cannot be read.
    File,
    /// The options of an `ldap` line make no sense. The line stays, and refuses every client that
    /// it matches.
    Ldap(OptionError),
    Malformed,
    MapUnknown,
    Mask,
    Method,
    /// The method is followed by something other than `map=NAME`, or, if it is `pam`,
    /// `pamservice=NAME`.
    Option,
    Names,
    /// An `@file` names files that name files, too deep or too many.
    TooManyFiles,
    /// A word that PostgreSQL knows and PgBouncer does not.
    Unsupported(&'static str),
}

impl fmt::Display for HbaProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            HbaProblemKind::Address => f.write_str("address is neither `all` nor IPv4 nor IPv6"),
            HbaProblemKind::AddressOutsideMask => {
                f.write_str("address has bits that its mask leaves out, nobody would match")
            }
            HbaProblemKind::AfterNames => f.write_str(
                "a line of the file named behind @ goes on after its list of names, and what \
                 follows does not count: put commas between the names",
            ),
            HbaProblemKind::ConnectionType => {
                f.write_str("`local`, `host`, `hostssl` or `hostnossl` expected")
            }
            HbaProblemKind::File => f.write_str("cannot read the file named behind @"),
            HbaProblemKind::Ldap(error) => write!(f, "{error}; whom the line matches is refused"),
            HbaProblemKind::Malformed => f.write_str("quote is not closed, or NUL byte"),
            HbaProblemKind::MapUnknown => f.write_str("ident map is not in auth_ident_file"),
            HbaProblemKind::Mask => f.write_str("network mask expected, as a length or an address"),
            HbaProblemKind::Method => f.write_str(
                "method expected: cert, ldap, md5, pam, password, peer, reject, scram-sha-256 or \
                 trust",
            ),
            HbaProblemKind::Option => f.write_str(
                "only map=NAME may follow the method, or pamservice=NAME where that is pam",
            ),
            HbaProblemKind::Names => f.write_str("names expected, with commas between"),
            HbaProblemKind::TooManyFiles => {
                f.write_str("files named behind @ are too many, too deep, or in a circle")
            }
            HbaProblemKind::Unsupported(word) => write!(f, "{word} is not supported"),
        }
    }
}

impl From<MalformedLine> for HbaProblemKind {
    fn from(_: MalformedLine) -> HbaProblemKind {
        HbaProblemKind::Malformed
    }
}

/// Reads what `@file` names; `left` files more may be read.
struct NameFiles<'a> {
    read: ReadFile<'a>,
    left: u32,
    /// Whether a line of a file of this rule says more than is read.
    has_more: bool,
}

fn parse_rule(
    line: u32,
    content: &[u8],
    maps: &IdentMaps,
    files: &mut NameFiles<'_>,
) -> Result<Option<(Rule, Option<HbaProblemKind>)>, HbaProblemKind> {
    let mut words = LineTokens::of(content);
    let tls = match words.next()? {
        None => return Ok(None),
        Some(LineToken::Word(b"local")) => None,
        Some(LineToken::Word(b"host")) => Some(None),
        Some(LineToken::Word(b"hostssl")) => Some(Some(true)),
        Some(LineToken::Word(b"hostnossl")) => Some(Some(false)),
        Some(_) => return Err(HbaProblemKind::ConnectionType),
    };
    files.has_more = false;
    let mut databases = Databases::default();
    read_names(&mut words, files, 0, &mut |item| databases.add(item))?;
    let mut users = HbaNames::default();
    read_names(&mut words, files, 0, &mut |item| users.add(item))?;
    let origin = match tls {
        None => HbaOrigin::Local,
        Some(tls) => HbaOrigin::Remote { tls, network: parse_network(&mut words)? },
    };
    let method = parse_method(&mut words)?;
    let mut rule = Rule { line, method, map: None, judge: None, origin, databases, users };
    let mut problem = files.has_more.then_some(HbaProblemKind::AfterNames);
    match method {
        HbaMethod::Ldap => match Directory::parse(words.rest()) {
            Ok(directory) => rule.judge = Some(Judge::Ldap(Box::new(directory))),
            Err(error) => problem = Some(HbaProblemKind::Ldap(error)),
        },
        HbaMethod::Pam => rule.judge = Some(Judge::Pam { service: parse_service(&mut words)? }),
        _ => rule.map = parse_map(&mut words, maps)?,
    }
    Ok(Some((rule, problem)))
}

/// One item of a list. A quoted name stands for itself; a bare word may be a keyword such as `all`.
enum ListItem<'a> {
    Name(Box<[u8]>),
    Word(&'a [u8]),
}

impl HbaNames {
    fn add(&mut self, item: ListItem<'_>) -> Result<(), HbaProblemKind> {
        let name = match item {
            ListItem::Word(b"all") => {
                self.has_all = true;
                return Ok(());
            }
            ListItem::Word([b'+', ..]) => return Err(HbaProblemKind::Unsupported("+group")),
            ListItem::Word(word) => word.into(),
            ListItem::Name(name) => name,
        };
        self.names.insert(name);
        Ok(())
    }
}

impl Databases {
    fn add(&mut self, item: ListItem<'_>) -> Result<(), HbaProblemKind> {
        match item {
            ListItem::Word(b"sameuser") => self.has_same_user = true,
            ListItem::Word(b"replication") => self.has_replication = true,
            ListItem::Word(b"samerole") => return Err(HbaProblemKind::Unsupported("samerole")),
            ListItem::Word(b"samegroup") => return Err(HbaProblemKind::Unsupported("samegroup")),
            other => return self.names.add(other),
        }
        Ok(())
    }
}

type AddItem<'a> = &'a mut dyn FnMut(ListItem<'_>) -> Result<(), HbaProblemKind>;

/// Takes names up to one that no comma follows.
fn read_names(
    words: &mut LineTokens<'_>,
    files: &mut NameFiles<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), HbaProblemKind> {
    loop {
        read_name(words, files, depth, add)?;
        if words.peek() != Ok(Some(LineToken::Comma)) {
            return Ok(());
        }
        words.next()?;
    }
}

fn read_name(
    words: &mut LineTokens<'_>,
    files: &mut NameFiles<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), HbaProblemKind> {
    match words.next()? {
        Some(LineToken::Quoted(name)) => add(ListItem::Name(name)),
        Some(LineToken::Word([b'@', file @ ..])) if !file.is_empty() => {
            read_file(file, files, depth + 1, add)
        }
        Some(LineToken::Word(word)) => add(ListItem::Word(word)),
        Some(LineToken::Comma) | None => Err(HbaProblemKind::Names),
    }
}

/// Takes the names of a file, of each line the first list.
fn read_file(
    file: &[u8],
    files: &mut NameFiles<'_>,
    depth: u32,
    add: AddItem<'_>,
) -> Result<(), HbaProblemKind> {
    if depth > FILE_DEPTH_MAX || files.left == 0 {
        return Err(HbaProblemKind::TooManyFiles);
    }
    files.left -= 1;
    let text = (files.read)(file).ok_or(HbaProblemKind::File)?;
    for (_, line) in lines(&text) {
        let mut words = LineTokens::of(line);
        if words.peek()?.is_some() {
            read_names(&mut words, files, depth, add)?;
        }
        files.has_more |= words.peek() != Ok(None);
    }
    Ok(())
}

/// How deep files may name files, which is the limit of `%include` in the configuration too.
const FILE_DEPTH_MAX: u32 = 10;

/// Files read for one HBA file. Without this limit, a few files that name each other several times
/// would be read for hours.
const FILES_MAX: u32 = 1000;

fn parse_network(words: &mut LineTokens<'_>) -> Result<HbaNetwork, HbaProblemKind> {
    let Some(LineToken::Word(text)) = words.next()? else { return Err(HbaProblemKind::Address) };
    if text == b"all" {
        return Ok(HbaNetwork::All);
    }
    let text = std::str::from_utf8(text).map_err(|_| HbaProblemKind::Address)?;
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| HbaProblemKind::Address)?;
    let mask = match len {
        Some(len) => mask_of_len(address, len).ok_or(HbaProblemKind::Mask)?,
        None => parse_mask(words)?,
    };
    masked(address, mask)
}

/// The network. An `address` with bits outside the mask is an error: no client could match it.
fn masked(address: IpAddr, mask: IpAddr) -> Result<HbaNetwork, HbaProblemKind> {
    let network = match (address, mask) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => {
            HbaNetwork::V4 { address: address.to_bits(), mask: mask.to_bits() }
        }
        (IpAddr::V6(address), IpAddr::V6(mask)) => {
            HbaNetwork::V6 { address: address.to_bits(), mask: mask.to_bits() }
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(HbaProblemKind::Mask);
        }
    };
    if network.has(address) { Ok(network) } else { Err(HbaProblemKind::AddressOutsideMask) }
}

/// The mask of `len` bits. As in PgBouncer, an empty `len` means 0, and a `+` may stand before it.
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

fn parse_mask(words: &mut LineTokens<'_>) -> Result<IpAddr, HbaProblemKind> {
    let Some(LineToken::Word(text)) = words.next()? else { return Err(HbaProblemKind::Mask) };
    let text = std::str::from_utf8(text).map_err(|_| HbaProblemKind::Mask)?;
    text.parse().map_err(|_| HbaProblemKind::Mask)
}

fn parse_method(words: &mut LineTokens<'_>) -> Result<HbaMethod, HbaProblemKind> {
    let Some(LineToken::Word(word)) = words.next()? else { return Err(HbaProblemKind::Method) };
    let method = METHODS.iter().find(|(name, _)| name.as_bytes() == word);
    method.map(|&(_, method)| method).ok_or(HbaProblemKind::Method)
}

/// The words for methods in the file. `any` is a method for `auth_type` alone.
const METHODS: [(&str, HbaMethod); 9] = [
    ("cert", HbaMethod::Cert),
    ("ldap", HbaMethod::Ldap),
    ("md5", HbaMethod::Md5),
    ("pam", HbaMethod::Pam),
    ("password", HbaMethod::Plain),
    ("peer", HbaMethod::Peer),
    ("reject", HbaMethod::Reject),
    ("scram-sha-256", HbaMethod::ScramSha256),
    ("trust", HbaMethod::Trust),
];

fn parse_map(
    words: &mut LineTokens<'_>,
    maps: &IdentMaps,
) -> Result<Option<Box<[u8]>>, HbaProblemKind> {
    let map = match words.next()? {
        None => return Ok(None),
        Some(LineToken::Word(word)) => word.strip_prefix(b"map=").ok_or(HbaProblemKind::Option)?,
        Some(LineToken::Comma | LineToken::Quoted(_)) => return Err(HbaProblemKind::Option),
    };
    if words.next()?.is_some() {
        return Err(HbaProblemKind::Option);
    }
    if maps.has(map) { Ok(Some(map.into())) } else { Err(HbaProblemKind::MapUnknown) }
}

/// `pamservice=NAME`. PAM opens a file of that name, so the name must not lead out of PAM's folder.
fn parse_service(words: &mut LineTokens<'_>) -> Result<Box<str>, HbaProblemKind> {
    let service = match words.next()? {
        None => return Ok(PAM_SERVICE.into()),
        Some(LineToken::Word(word)) => {
            word.strip_prefix(b"pamservice=").ok_or(HbaProblemKind::Option)?
        }
        Some(LineToken::Comma | LineToken::Quoted(_)) => return Err(HbaProblemKind::Option),
    };
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if words.next()?.is_some() || service.is_empty() || !service.iter().all(is_plain) {
        return Err(HbaProblemKind::Option);
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

    fn problem(line: &str) -> HbaProblemKind {
        let text = format!("{line}\nhost all all all trust\n");
        let (rules, problems) = parse(text.as_bytes(), &IdentMaps::default(), &mut no_file);
        assert_eq!((rules.rules().len(), problems.len()), (1, 1), "{line}");
        assert_eq!((rules.rules()[0].line, problems[0].line), (2, 1));
        problems[0].kind.clone()
    }

    #[test]
    fn a_bad_line_is_named_and_left_out() {
        for (line, kind) in [
            ("junk", HbaProblemKind::ConnectionType),
            ("HOST all all all trust", HbaProblemKind::ConnectionType),
            ("\"host\" all all all trust", HbaProblemKind::ConnectionType),
            ("; comment", HbaProblemKind::ConnectionType),
            ("hostgssenc all all all trust", HbaProblemKind::ConnectionType),
            ("include other", HbaProblemKind::ConnectionType),
            ("host", HbaProblemKind::Names),
            ("host all", HbaProblemKind::Names),
            ("host ,x all all trust", HbaProblemKind::Names),
            ("host all ,u all trust", HbaProblemKind::Address),
            ("host all +u all trust", HbaProblemKind::Unsupported("+group")),
            ("host samerole all all trust", HbaProblemKind::Unsupported("samerole")),
            ("host samegroup all all trust", HbaProblemKind::Unsupported("samegroup")),
            ("host all @none all trust", HbaProblemKind::File),
            ("host all \"u all trust", HbaProblemKind::Malformed),
            ("host all u\0x all trust", HbaProblemKind::Malformed),
            ("host all all", HbaProblemKind::Address),
            ("host all all \"all\" trust", HbaProblemKind::Address),
            ("host all all localhost trust", HbaProblemKind::Address),
            ("host all all samehost trust", HbaProblemKind::Address),
            ("host all all 127.1/8 trust", HbaProblemKind::Address),
            ("host all all 0127.0.0.1/32 trust", HbaProblemKind::Address),
            ("host all all \u{e9}/8 trust", HbaProblemKind::Address),
            ("host all u, all trust", HbaProblemKind::Address),
            ("host all all 127.0.0.1 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/33 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/-1 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/+ trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/+-8 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/0x8 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.0/ trust", HbaProblemKind::AddressOutsideMask),
            ("host all all 0/0 trust", HbaProblemKind::Address),
            ("host all all ALL trust", HbaProblemKind::Address),
            ("host all all all trust ; comment", HbaProblemKind::Option),
            ("host all all all md5 clientcert=1", HbaProblemKind::Option),
            ("host all all 127.0.0.0/99999999999 trust", HbaProblemKind::Mask),
            ("host all all ::1/129 trust", HbaProblemKind::Mask),
            ("host all all ::1 255.0.0.0 trust", HbaProblemKind::Mask),
            ("host all all 127.0.0.1/8 trust", HbaProblemKind::AddressOutsideMask),
            ("host all all all", HbaProblemKind::Method),
            ("local all all all trust", HbaProblemKind::Method),
            ("host all all all TRUST", HbaProblemKind::Method),
            ("host all all all \"trust\"", HbaProblemKind::Method),
            ("host all all all any", HbaProblemKind::Method),
            ("host all all all pam map=m", HbaProblemKind::Option),
            ("host all all all pam pamservice=", HbaProblemKind::Option),
            ("host all all all pam pamservice=../x", HbaProblemKind::Option),
            ("host all all all pam pamservice=a pamservice=b", HbaProblemKind::Option),
            ("host all all 127.0.0.1/32,10.0.0.0/8 trust", HbaProblemKind::Method),
            ("host all all all trust junk", HbaProblemKind::Option),
            ("host all all all trust MAP=m", HbaProblemKind::Option),
            ("host all all all trust \"map=m\"", HbaProblemKind::Option),
            ("host all all all trust map=m x", HbaProblemKind::Option),
            ("host all all all peer map=m", HbaProblemKind::MapUnknown),
            ("host all all all peer map=", HbaProblemKind::MapUnknown),
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
        let kind = HbaProblemKind::Ldap(OptionError::Neither);
        assert_eq!(problems, [HbaProblem { line: 3, kind }]);
        let rules = rules.rules();
        assert_eq!(rules[0].map.as_deref(), Some(&b"m"[..]));
        let directory = Directory::parse(b"ldapserver=h ldapsuffix=\"@a b\"").unwrap();
        assert_eq!(rules[1].judge, Some(Judge::Ldap(Box::new(directory))));
        assert_eq!((rules[2].method, &rules[2].judge), (HbaMethod::Ldap, &None));
        assert_eq!(rules[3].judge, Some(Judge::pam()));
        assert_eq!(rules[4].judge, Some(Judge::Pam { service: "x".into() }));
    }

    #[test]
    fn files_of_names_are_read_and_circles_end() {
        let mut read = |file: &[u8]| match file {
            b"users" => Some(b"# comment\n\nv,w, x # y\n\"all\",@more\n".to_vec()),
            b"more" => Some(b"u".to_vec()),
            b"spaces" => Some(b"s t\nw \"\n".to_vec()),
            b"commas" => Some(b"u,\nv".to_vec()),
            b"circle" => Some(b"u,@circle".to_vec()),
            b"group" => Some(b"+u".to_vec()),
            b"databases" => Some(b"sameuser,replication".to_vec()),
            _ => None,
        };
        let text = b"host @databases all all reject\nhost all @users,y all trust\n\
            host all @circle all trust\nhost all @group all trust\nhost all @\"users\" all trust\n\
            host all @spaces all md5\nhost all @commas all trust\n";
        let (rules, problems) = parse(text, &IdentMaps::default(), &mut read);
        let kinds: Vec<_> = problems.iter().map(|p| (p.line, p.kind.clone())).collect();
        assert_eq!(
            kinds,
            [
                (3, HbaProblemKind::TooManyFiles),
                (4, HbaProblemKind::Unsupported("+group")),
                (5, HbaProblemKind::Address),
                (6, HbaProblemKind::AfterNames),
                (7, HbaProblemKind::Names),
            ]
        );
        let lines: Vec<u32> = rules.rules().iter().map(|rule| rule.line).collect();
        assert_eq!(lines, [1, 2, 6]);
        let visitor = |user: &'static str, database: &'static [u8]| Visitor {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            has_tls: false,
            wants_replication: false,
            database,
            user: user.as_bytes(),
        };
        for (user, is_match) in [("u", true), ("x", true), ("s", true), ("t", false)] {
            assert_eq!(rules.find(&visitor(user, b"x")).is_some(), is_match, "{user}");
        }
        let same = rules.find(&visitor("other", b"other")).unwrap();
        assert_eq!((same.line, same.method, same.method.login()), (1, HbaMethod::Reject, None));
    }
}
