//! HBA rules (`auth_hba_file`): who may connect from where to what, and by which method.
//!
//! Here are the rules as data, and the search for the one that matches a connection. `hba_file`
//! parses their text.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::auth::client;
use crate::auth::inquiry::Judge;

/// The connection that asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// None for a Unix socket.
    pub address: Option<IpAddr>,
    pub has_tls: bool,
    /// Physical replication: only the word `replication` matches it. Logical replication
    /// (`replication=database`) is a connection to its database like any other.
    pub wants_replication: bool,
    pub database: &'a [u8],
    pub user: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HbaMethod {
    Cert,
    Ldap,
    Md5,
    Pam,
    Peer,
    /// Written `password`.
    Plain,
    Reject,
    ScramSha256,
    Trust,
}

impl HbaMethod {
    /// The proof that the pooler itself judges under this method; None for the other methods.
    pub fn login(self) -> Option<client::ProofMethod> {
        match self {
            HbaMethod::Md5 => Some(client::ProofMethod::Md5),
            HbaMethod::Plain => Some(client::ProofMethod::Plain),
            HbaMethod::ScramSha256 => Some(client::ProofMethod::ScramSha256),
            HbaMethod::Trust => Some(client::ProofMethod::Trust),
            HbaMethod::Cert
            | HbaMethod::Ldap
            | HbaMethod::Pam
            | HbaMethod::Peer
            | HbaMethod::Reject => None,
        }
    }
}

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Counted from 1, for log lines.
    pub line: u32,
    pub method: HbaMethod,
    /// The ident map of `map=`, for `peer` and `cert`. A map of that name exists.
    pub map: Option<Box<[u8]>>,
    /// Who judges the password, for `ldap` and `pam`. None if the options of the line make no
    /// sense: the line then refuses every client that it matches.
    pub judge: Option<Judge>,
    pub(super) origin: HbaOrigin,
    pub(super) databases: Databases,
    pub(super) users: HbaNames,
}

/// Rules in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HbaRules {
    rules: Vec<Rule>,
}

impl HbaRules {
    pub fn new(rules: Vec<Rule>) -> HbaRules {
        HbaRules { rules }
    }

    /// The first rule that matches. A client that no rule matches is refused with [`NO_RULE`].
    pub fn find(&self, visitor: &Visitor<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.matches(visitor))
    }

    /// All rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// What a client is told when no rule matches it.
pub const NO_RULE: &str = "no authentication method is found";

impl Rule {
    fn matches(&self, visitor: &Visitor<'_>) -> bool {
        self.origin.matches(visitor)
            && self.users.has(visitor.user)
            && self.databases.matches(visitor)
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HbaOrigin {
    Local,
    Remote { tls: Option<bool>, network: HbaNetwork },
}

impl HbaOrigin {
    fn matches(self, visitor: &Visitor<'_>) -> bool {
        match (self, visitor.address) {
            (HbaOrigin::Local, None) => true,
            (HbaOrigin::Local, Some(_)) | (HbaOrigin::Remote { .. }, None) => false,
            (HbaOrigin::Remote { tls, network }, Some(address)) => {
                tls.is_none_or(|tls| tls == visitor.has_tls) && network.has(address)
            }
        }
    }
}

/// Addresses whose bits under the mask are those of `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HbaNetwork {
    All,
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl HbaNetwork {
    pub(super) fn has(self, visitor: IpAddr) -> bool {
        match (self, visitor) {
            (HbaNetwork::All, _) => true,
            (HbaNetwork::V4 { address, mask }, IpAddr::V4(visitor)) => {
                visitor.to_bits() & mask == address
            }
            (HbaNetwork::V6 { address, mask }, IpAddr::V6(visitor)) => {
                visitor.to_bits() & mask == address
            }
            (HbaNetwork::V4 { .. }, IpAddr::V6(_)) | (HbaNetwork::V6 { .. }, IpAddr::V4(_)) => {
                false
            }
        }
    }
}

/// A list of names, or everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HbaNames {
    pub(super) has_all: bool,
    pub(super) names: HashSet<Box<[u8]>>,
}

impl HbaNames {
    fn has(&self, name: &[u8]) -> bool {
        self.has_all || self.names.contains(name)
    }
}

/// The databases of a rule: names, and the keywords `all`, `sameuser` and `replication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Databases {
    pub(super) names: HbaNames,
    pub(super) has_same_user: bool,
    pub(super) has_replication: bool,
}

impl Databases {
    fn matches(&self, visitor: &Visitor<'_>) -> bool {
        if visitor.wants_replication {
            return self.has_replication;
        }
        self.names.has(visitor.database) || self.has_same_user && visitor.database == visitor.user
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    use crate::auth::hba_file::parse;
    use crate::auth::ident::IdentMaps;

    fn no_file(_: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// A user at 127.0.0.1 without TLS who wants a database.
    fn visitor<'a>(user: &'a str, database: &'a str) -> Visitor<'a> {
        Visitor {
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            has_tls: false,
            wants_replication: false,
            database: database.as_bytes(),
            user: user.as_bytes(),
        }
    }

    fn rules(text: &str) -> HbaRules {
        let (rules, problems) = parse(text.as_bytes(), &IdentMaps::default(), &mut no_file);
        assert_eq!(problems, [], "{text}");
        rules
    }

    fn is_let_in(text: &str, visitor: Visitor<'_>) -> bool {
        rules(text).find(&visitor).is_some()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = rules(
            "# comment\nhost x u all reject # no\r\nhost\tx all all md5\nhost all u all password\n",
        );
        let found = |user, database| rules.find(&visitor(user, database)).map(|r| r.method);
        assert_eq!(found("u", "x"), Some(HbaMethod::Reject));
        assert_eq!(found("v", "x"), Some(HbaMethod::Md5));
        assert_eq!(found("u", "y"), Some(HbaMethod::Plain));
        assert_eq!(found("v", "y"), None);
    }

    #[test]
    fn names_are_lists_and_quotes_take_their_meaning_away() {
        for (line, is_match) in [
            ("host all u all trust", true),
            ("host all U all trust", false),
            ("host all \"u\" all trust", true),
            ("host all \"all\" all trust", false),
            ("host \"all\" all all trust", false),
            ("host all v,u all trust", true),
            ("host all v, u all trust", true),
            ("host all v ,all all trust", true),
            ("host all \"v,u\" all trust", false),
            ("host x,y all all trust", true),
            ("host y all all trust", false),
            ("host sameuser all all trust", false),
            ("host all /u all trust", false),
            ("host all @ all trust", false),
        ] {
            assert_eq!(is_let_in(line, visitor("u", "x")), is_match, "{line}");
        }
        assert!(is_let_in("host sameuser all all trust", visitor("u", "u")));
        assert!(!is_let_in("host \"sameuser\" all all trust", visitor("u", "u")));
    }

    #[test]
    fn physical_replication_needs_its_own_word() {
        let replication = Visitor { wants_replication: true, ..visitor("u", "x") };
        for (databases, is_match) in
            [("all", false), ("x", false), ("\"replication\"", false), ("x,replication", true)]
        {
            let line = format!("host {databases} all all trust");
            assert_eq!(is_let_in(&line, replication), is_match, "{line}");
        }
        assert!(!is_let_in("host replication all all trust", visitor("u", "replication")));
    }

    #[test]
    fn addresses_match_under_their_mask() {
        for (network, address, is_match) in [
            ("all", "127.0.0.1", true),
            ("0.0.0.0/0", "127.0.0.1", true),
            ("127.0.0.0/8", "127.9.9.9", true),
            ("127.0.0.0/8", "128.0.0.1", false),
            ("127.0.0.1/032", "127.0.0.1", true),
            ("127.0.0.0/+8", "127.9.9.9", true),
            ("0.0.0.0/", "127.9.9.9", true),
            ("::/", "::1", true),
            ("127.0.0.1 255.255.255.255", "127.0.0.1", true),
            ("127.0.0.0 255.0.255.0", "127.7.0.7", true),
            ("127.0.0.0 255.0.255.0", "127.7.7.7", false),
            ("::/0", "127.0.0.1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("2001:db8:: ffff:ffff::", "2001:db8:1::1", true),
            ("::1/128", "::1", true),
            ("0.0.0.0/0", "::1", false),
        ] {
            let address = Some(address.parse().unwrap());
            let line = format!("host all all {network} trust");
            let found = is_let_in(&line, Visitor { address, ..visitor("u", "x") });
            assert_eq!(found, is_match, "{line} from {address:?}");
        }
    }

    #[test]
    fn connection_types_tell_sockets_and_tls_apart() {
        let plain = visitor("u", "x");
        let tls = Visitor { has_tls: true, ..plain };
        let unix = Visitor { address: None, ..plain };
        for (line, matches) in [
            ("local all all trust", [false, false, true]),
            ("host all all all trust", [true, true, false]),
            ("hostssl all all all trust", [false, true, false]),
            ("hostnossl all all all trust", [true, false, false]),
        ] {
            assert_eq!([plain, tls, unix].map(|visitor| is_let_in(line, visitor)), matches);
        }
    }
}
