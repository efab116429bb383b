//! Options that say where a directory is and how users are found in it: those of PostgreSQL's
//! `ldap` lines, by the same names.

use std::fmt;

use super::message::{self, Scope};
use super::url;
use crate::auth::secret::Password;
use crate::base::text::is_space;

/// A directory, and how users are found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Names or addresses, tried in this order. There is at least one.
    pub hosts: Vec<String>,
    pub port: u16,
    pub cover: Cover,
    pub(super) way: EntryDn,
}

/// Whether and how TLS protects the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    Nothing,
    /// The connection begins in clear and goes on under TLS (StartTLS): `ldaptls=1`.
    StartTls,
    /// TLS from the beginning: `ldaps`.
    Ldaps,
}

/// Whether the name of a user's entry is composed or searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryDn {
    Made { prefix: String, suffix: String },
    Found(Search),
}

/// How a user's entry is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub base: String,
    pub scope: Scope,
    /// With [`USER`] in the place of the user's name.
    pub filter: String,
    /// The name to bind with before the search; empty for an anonymous bind.
    pub name: String,
    pub password: Option<Password>,
}

/// What stands for the user's name in a filter.
const USER: &str = "$username";

impl Search {
    /// The filter for this user.
    pub fn filter_for(&self, user: &str) -> String {
        self.filter.replace(USER, user)
    }
}

/// What is wrong with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionError {
    /// The options are of both forms.
    Both,
    /// `ldapsearchattribute` and `ldapsearchfilter` together.
    BothSearches,
    Filter,
    /// This option has no `=`.
    Form(String),
    /// A quote that is not closed, a NUL byte, or text that is not UTF-8.
    Malformed,
    /// The options are of neither form.
    Neither,
    NoServer,
    Port,
    Scheme,
    Scope,
    Tls,
    /// `ldaptls=1` together with `ldaps`, which is TLS already.
    TlsTwice,
    /// The program was built without TLS.
    TlsUnbuilt,
    Unknown(String),
    Url,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionError::Both => {
                "either ldapprefix and ldapsuffix or ldapbasedn, ldapbinddn, ldapbindpasswd, \
                 ldapsearchattribute and ldapsearchfilter, not both"
            }
            OptionError::BothSearches => "either ldapsearchattribute or ldapsearchfilter, not both",
            OptionError::Filter => "ldapsearchfilter is no filter, such as (uid=$username)",
            OptionError::Form(text) => {
                return write!(f, "NAME=VALUE expected, not \"{text}\"; spaces need quotes");
            }
            OptionError::Malformed => "quote is not closed, NUL byte, or not UTF-8",
            OptionError::Neither => "ldapbasedn, ldapprefix or ldapsuffix is missing",
            OptionError::NoServer => "ldapserver is missing",
            OptionError::Port => "ldapport is a number from 1 to 65535",
            OptionError::Scheme => "ldapscheme is ldap or ldaps",
            OptionError::Scope => "the scope of ldapurl is base, one or sub",
            OptionError::Tls => "ldaptls is 0 or 1",
            OptionError::TlsTwice => "ldaptls=1 has no place with ldaps, which is TLS already",
            OptionError::TlsUnbuilt => "ldaps and ldaptls need a program that was built with TLS",
            OptionError::Unknown(name) => {
                return write!(
                    f,
                    "\"{name}\" is no LDAP option; a value with commas or spaces needs quotes"
                );
            }
            OptionError::Url => "ldapurl is no URL such as ldap://host/base?attribute?sub",
        })
    }
}

/// Options as they stand in the text, before it is known whether they make sense together.
#[derive(Default)]
struct Given {
    server: String,
    port: Option<u16>,
    is_ldaps: bool,
    starts_tls: bool,
    prefix: Option<String>,
    suffix: Option<String>,
    base: Option<String>,
    scope: Option<Scope>,
    attribute: Option<String>,
    filter: Option<String>,
    name: Option<String>,
    password: Option<Password>,
}

impl Directory {
    /// Reads options: `name=value`, with spaces or commas between, and double quotes around a value
    /// that contains either. `#` begins a comment.
    pub fn parse(text: &[u8]) -> Result<Directory, OptionError> {
        let text = std::str::from_utf8(text).map_err(|_| OptionError::Malformed)?;
        let mut given = Given::default();
        for option in split(text)? {
            let (name, value) =
                option.split_once('=').ok_or_else(|| OptionError::Form(option.clone()))?;
            given.take(name, value)?;
        }
        given.directory()
    }
}

impl Given {
    fn take(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let text = Some(value.to_owned());
        match name {
            "ldapbasedn" => self.base = text,
            "ldapbinddn" => self.name = text,
            "ldapbindpasswd" => self.password = Some(Password::new(value.as_bytes())),
            "ldapport" => self.port = Some(port(value)?),
            "ldapprefix" => self.prefix = text,
            "ldapscheme" => self.is_ldaps = flag(value, ["ldap", "ldaps"], OptionError::Scheme)?,
            "ldapsearchattribute" => self.attribute = text,
            "ldapsearchfilter" => self.filter = text,
            "ldapserver" => self.server = value.to_owned(),
            "ldapsuffix" => self.suffix = text,
            "ldaptls" => self.starts_tls = flag(value, ["0", "1"], OptionError::Tls)?,
            "ldapurl" => self.take_url(value)?,
            _ => return Err(OptionError::Unknown(name.to_owned())),
        }
        Ok(())
    }

    fn take_url(&mut self, text: &str) -> Result<(), OptionError> {
        let url = url::parse(text).ok_or(OptionError::Url)?;
        self.is_ldaps = url.is_ldaps;
        self.server = url.host.unwrap_or_default();
        self.port = url.port.map(|text| port(&text)).transpose()?;
        let searches = url.attribute.is_some() || url.filter.is_some();
        self.base = Some(url.base).filter(|base| searches || !base.is_empty());
        self.attribute = url.attribute;
        self.filter = url.filter;
        // A URL without a scope means the base alone.
        let scope = url.scope.unwrap_or_else(|| "base".to_owned());
        self.scope = Some(match scope.to_ascii_lowercase().as_str() {
            "base" => Scope::Base,
            "one" | "onelevel" => Scope::One,
            "sub" | "subtree" => Scope::Subtree,
            _ => return Err(OptionError::Scope),
        });
        Ok(())
    }

    fn directory(self) -> Result<Directory, OptionError> {
        let cover = match (self.is_ldaps, self.starts_tls) {
            (false, false) => Cover::Nothing,
            (false, true) => Cover::StartTls,
            (true, false) => Cover::Ldaps,
            (true, true) => return Err(OptionError::TlsTwice),
        };
        if cover != Cover::Nothing && !cfg!(feature = "tls") {
            return Err(OptionError::TlsUnbuilt);
        }
        let hosts: Vec<String> = self.server.split_ascii_whitespace().map(str::to_owned).collect();
        let port = self.port.unwrap_or(if cover == Cover::Ldaps { 636 } else { 389 });
        let way = self.way()?;
        if hosts.is_empty() {
            return Err(OptionError::NoServer);
        }
        Ok(Directory { hosts, port, cover, way })
    }

    fn way(self) -> Result<EntryDn, OptionError> {
        let is_made = self.prefix.is_some() || self.suffix.is_some();
        let is_found = self.base.is_some()
            || self.attribute.is_some()
            || self.filter.is_some()
            || self.name.is_some()
            || self.password.is_some();
        match (is_made, is_found, self.base) {
            (true, true, _) => Err(OptionError::Both),
            (true, false, _) => Ok(EntryDn::Made {
                prefix: self.prefix.unwrap_or_default(),
                suffix: self.suffix.unwrap_or_default(),
            }),
            (false, _, None) => Err(OptionError::Neither),
            (false, _, Some(base)) => {
                let filter = match (self.attribute, self.filter) {
                    (Some(_), Some(_)) => return Err(OptionError::BothSearches),
                    (None, Some(filter)) => filter,
                    (attribute, None) => {
                        format!("({}={USER})", attribute.as_deref().unwrap_or("uid"))
                    }
                };
                let scope = self.scope.unwrap_or(Scope::Subtree);
                let name = self.name.unwrap_or_default();
                let search = Search { base, scope, filter, name, password: self.password };
                let sample = search.filter_for("user");
                message::search(1, "", scope, &sample).map_err(|_| OptionError::Filter)?;
                Ok(EntryDn::Found(search))
            }
        }
    }
}

fn port(text: &str) -> Result<u16, OptionError> {
    text.parse().ok().filter(|port| *port > 0).ok_or(OptionError::Port)
}

/// Whether `value` is the second of two words; an error if it is neither.
fn flag(value: &str, words: [&str; 2], error: OptionError) -> Result<bool, OptionError> {
    words.iter().position(|word| *word == value).map(|at| at == 1).ok_or(error)
}

/// Takes a line of options apart. Quotes may begin and end anywhere; a doubled quote stands for
/// one.
fn split(text: &str) -> Result<Vec<String>, OptionError> {
    let mut options = Vec::new();
    let mut option = None;
    let mut is_quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\0' => return Err(OptionError::Malformed),
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                option.get_or_insert_with(String::new).push('"');
            }
            '"' => {
                is_quoted = !is_quoted;
                option.get_or_insert_with(String::new);
            }
            '#' if !is_quoted => break,
            _ if !is_quoted && (is_space(letter) || letter == ',') => {
                options.extend(option.take());
            }
            _ => option.get_or_insert_with(String::new).push(letter),
        }
    }
    options.extend(option);
    if is_quoted { Err(OptionError::Malformed) } else { Ok(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Directory, OptionError> {
        Directory::parse(text.as_bytes())
    }

    fn made(text: &str) -> (String, String) {
        match parse(text).map(|directory| directory.way) {
            Ok(EntryDn::Made { prefix, suffix }) => (prefix, suffix),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn found(text: &str) -> Search {
        match parse(text).map(|directory| directory.way) {
            Ok(EntryDn::Found(search)) => search,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_made_of_prefix_user_and_suffix() {
        let expected = ("uid=".to_owned(), ",dc=example,dc=net".to_owned());
        for text in [
            r#"ldapserver=h ldapprefix="uid=" ldapsuffix=",dc=example,dc=net""#,
            r#"ldapserver=h, ldapprefix=uid=, ldapsuffix=",dc=example,dc=net" # comment"#,
            r#""ldapserver=h" "ldapprefix=uid=" "ldapsuffix=,dc=example,dc=net""#,
            r#"ldapurl="ldap://h" ldapprefix=uid= ldapsuffix=","dc=example","dc=net"#,
        ] {
            assert_eq!(made(text), expected, "{text}");
        }
        assert_eq!(made(r#"ldapserver=h ldapsuffix="@a""b""#).1, "@a\"b");
    }

    #[test]
    fn an_entry_is_searched_for_by_attribute_or_filter() {
        let plain = found(r#"ldapserver=h ldapbasedn="dc=net""#);
        assert_eq!((&*plain.base, plain.scope), ("dc=net", Scope::Subtree));
        assert_eq!(plain.filter_for("joe"), "(uid=joe)");
        let by = found("ldapserver=h ldapbasedn=x ldapsearchattribute=cn ldapbinddn=r");
        assert_eq!((&*by.filter_for("joe"), &*by.name), ("(cn=joe)", "r"));
        let filter =
            r#"ldapserver=h ldapbasedn=x ldapsearchfilter="(|(a=$username)(b=$username))""#;
        assert_eq!(found(filter).filter_for("joe"), "(|(a=joe)(b=joe))");
        let url = found(r#"ldapurl="ldap://h/dc=net?mail?one""#);
        assert_eq!((&*url.filter, url.scope), ("(mail=$username)", Scope::One));
        assert_eq!(found("ldapurl=ldap://h/?uid").scope, Scope::Base);
        assert_eq!(found("ldapurl=ldap://h/x??sub?(a=$username)").filter, "(a=$username)");
    }

    #[test]
    fn hosts_and_ports_follow_server_scheme_and_url() {
        let place = |text: &str| {
            let directory = parse(&format!("{text} ldapprefix=x")).unwrap();
            (directory.hosts.join(" "), directory.port)
        };
        assert_eq!(place(r#"ldapserver="a b""#), ("a b".to_owned(), 389));
        assert_eq!(place("ldapserver=a ldapport=10389"), ("a".to_owned(), 10389));
        assert_eq!(place("ldapurl=ldap://a:11"), ("a".to_owned(), 11));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_begins_at_once_or_by_agreement() {
        let cover = |text: &str| {
            let directory = parse(&format!("ldapserver=a ldapprefix=x {text}"))?;
            Ok((directory.cover, directory.port))
        };
        assert_eq!(cover("ldapscheme=ldaps"), Ok((Cover::Ldaps, 636)));
        assert_eq!(cover("ldaptls=1"), Ok((Cover::StartTls, 389)));
        assert_eq!(cover("ldaptls=0"), Ok((Cover::Nothing, 389)));
        assert_eq!(cover("ldaptls=1 ldapscheme=ldaps"), Err(OptionError::TlsTwice));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let unknown = |name: &str| OptionError::Unknown(name.to_owned());
        for (text, error) in [
            ("", OptionError::Neither),
            ("ldapserver=h", OptionError::Neither),
            ("ldapprefix=x", OptionError::NoServer),
            ("ldapurl=ldap:///dc=x?uid", OptionError::NoServer),
            ("ldapserver=h ldapprefix=x ldapbasedn=y", OptionError::Both),
            ("ldapserver=h ldapprefix=x ldapbinddn=y", OptionError::Both),
            ("ldapserver=h ldapbinddn=y", OptionError::Neither),
            (
                "ldapserver=h ldapbasedn=x ldapsearchattribute=a ldapsearchfilter=a=b",
                OptionError::BothSearches,
            ),
            ("ldapserver=h ldapbasedn=x ldapsearchfilter=(a", OptionError::Filter),
            ("ldapserver=h ldapbasedn=x ldapsearchattribute=a(", OptionError::Filter),
            ("ldapserver=h ldapprefix=x ldapport=0", OptionError::Port),
            ("ldapserver=h ldapprefix=x ldapport=x", OptionError::Port),
            ("ldapserver=h ldapprefix=x ldaptls=on", OptionError::Tls),
            ("ldapserver=h ldapprefix=x ldapscheme=http", OptionError::Scheme),
            ("ldapurl=http://h/x?uid", OptionError::Url),
            ("ldapurl=ldap://h/x?uid?all", OptionError::Scope),
            ("ldapserver = h", OptionError::Form("ldapserver".to_owned())),
            ("ldapserver=h LDAPPREFIX=x", unknown("LDAPPREFIX")),
            ("ldapserver=h ldapsuffix=,dc=x", unknown("dc")),
            ("ldapserver=\"h", OptionError::Malformed),
            ("ldapserver=h\0", OptionError::Malformed),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
