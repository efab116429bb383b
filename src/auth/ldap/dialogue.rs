//! The conversation with a directory about one user: TLS where it is agreed on, then a bind with
//! the client's password. The name to bind with is composed, or found by a search.

use std::fmt;

use super::MalformedLdap;
use super::message::{self, LdapResponse, LdapResult};
use super::options::{Cover, Directory, EntryDn, Search};
use crate::auth::secret::Password;
use crate::base::text::printable;

/// What the caller is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this, then read a message.
    Send(Vec<u8>),
    /// Read one more message.
    Read,
    /// Put the connection under TLS, then call [`Dialogue::secured`].
    Secure,
    /// The directory has decided whether the user is who it claims to be.
    Done(Result<(), Fault>),
}

/// The request whose answer is awaited. Requests are numbered in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Await {
    Nothing,
    Tls,
    /// The bind with `ldapbinddn`, before the search.
    Searcher,
    /// Names of entries, and the end of the search.
    Entries(Vec<String>),
    User {
        name: String,
    },
}

impl Await {
    fn number(&self) -> u8 {
        match self {
            Await::Nothing => 0,
            Await::Tls => 1,
            Await::Searcher => 2,
            Await::Entries(_) => 3,
            Await::User { .. } => 4,
        }
    }
}

pub struct Dialogue<'a> {
    directory: &'a Directory,
    user: &'a str,
    /// Never empty: a bind with an empty password is anonymous.
    password: &'a Password,
    host: String,
    state: Await,
}

/// Why a directory did not accept a user, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub host: String,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The user name has a character that means something in filters.
    Letter,
    /// The bind to the entry of this name, with the client's password, failed.
    Login {
        name: String,
        reply: LdapRefusal,
    },
    Malformed,
    /// A search with this filter found nobody.
    NoEntry {
        filter: String,
    },
    NoFilter {
        filter: String,
    },
    Search {
        filter: String,
        reply: LdapRefusal,
    },
    /// The bind with `ldapbinddn`, before the search, failed.
    Searcher {
        name: String,
        reply: LdapRefusal,
    },
    /// The search found more than one entry.
    SeveralEntries {
        filter: String,
    },
    Tls(LdapRefusal),
}

/// A directory's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LdapRefusal {
    pub code: u32,
    pub text: String,
}

/// How many characters of a directory's own words a log line may quote.
const TEXT_CHARS_MAX: usize = 200;

impl From<LdapResult<'_>> for LdapRefusal {
    fn from(outcome: LdapResult<'_>) -> LdapRefusal {
        let text = String::from_utf8_lossy(outcome.text);
        let text: String = text.chars().take(TEXT_CHARS_MAX).map(printable).collect();
        LdapRefusal { code: outcome.code, text: text.trim().to_owned() }
    }
}

impl fmt::Display for LdapRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", message::meaning(self.code), self.code)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match &self.kind {
            FaultKind::Letter => f.write_str(
                "a user name with one of * ( ) \\ / is not searched for in an LDAP directory",
            ),
            FaultKind::Login { name, reply } => {
                write!(f, "LDAP login failed for user \"{name}\" on server {host}: {reply}")
            }
            FaultKind::Malformed => write!(f, "LDAP server {host} sent what is no answer"),
            FaultKind::NoEntry { filter } => {
                write!(f, "LDAP search for \"{filter}\" on server {host} found nobody")
            }
            FaultKind::NoFilter { filter } => write!(f, "\"{filter}\" is no LDAP filter"),
            FaultKind::Search { filter, reply } => {
                write!(f, "LDAP search for \"{filter}\" on server {host} failed: {reply}")
            }
            FaultKind::Searcher { name, reply } => {
                write!(f, "LDAP login of ldapbinddn \"{name}\" failed on server {host}: {reply}")
            }
            FaultKind::SeveralEntries { filter } => {
                write!(f, "LDAP search for \"{filter}\" on server {host} found several entries")
            }
            FaultKind::Tls(reply) => write!(f, "LDAP server {host} refused TLS: {reply}"),
        }
    }
}

impl<'a> Dialogue<'a> {
    pub fn new(directory: &'a Directory, user: &'a str, password: &'a Password) -> Dialogue<'a> {
        Dialogue { directory, user, password, host: String::new(), state: Await::Nothing }
    }

    /// Begins once a connection to one of the hosts is open; with `ldaps` it is under TLS already.
    pub fn begin(&mut self, host: &str) -> Next {
        self.host = host.to_owned();
        match self.directory.cover {
            Cover::StartTls => {
                self.state = Await::Tls;
                Next::Send(message::start_tls(self.state.number()))
            }
            Cover::Nothing | Cover::Ldaps => self.secured(),
        }
    }

    /// Goes on once the connection is under TLS, if it has to be.
    pub fn secured(&mut self) -> Next {
        match &self.directory.way {
            EntryDn::Made { prefix, suffix } => {
                let user = match prefix.ends_with('=') {
                    true => escaped(self.user),
                    false => self.user.to_owned(),
                };
                self.bind(format!("{prefix}{user}{suffix}"))
            }
            EntryDn::Found(_) if self.user.contains(SPECIAL) => self.fail(FaultKind::Letter),
            EntryDn::Found(search) => {
                self.state = Await::Searcher;
                let password = search.password.as_ref().map_or(&b""[..], Password::as_bytes);
                Next::Send(message::bind(self.state.number(), &search.name, password))
            }
        }
    }

    /// Takes a whole message.
    pub fn received(&mut self, bytes: &[u8]) -> Next {
        let number = self.state.number();
        match message::read(bytes, number) {
            Ok(answer) => self.answered(answer),
            Err(MalformedLdap) => self.fail(FaultKind::Malformed),
        }
    }

    fn answered(&mut self, answer: LdapResponse<'_>) -> Next {
        match (std::mem::replace(&mut self.state, Await::Nothing), answer) {
            (Await::Tls, LdapResponse::Extended(outcome)) => match outcome.code {
                0 => Next::Secure,
                _ => self.fail(FaultKind::Tls(outcome.into())),
            },
            (Await::Searcher, LdapResponse::Bound(outcome)) => self.searcher_bound(outcome),
            (Await::Entries(mut names), LdapResponse::Entry(name)) => {
                // Two entries tell that the search is not unique: more need not be kept.
                if names.len() < 2 {
                    names.push(String::from_utf8_lossy(name).into_owned());
                }
                self.state = Await::Entries(names);
                Next::Read
            }
            (Await::Entries(names), LdapResponse::Reference) => {
                self.state = Await::Entries(names);
                Next::Read
            }
            (Await::Entries(names), LdapResponse::Found(outcome)) => self.searched(names, outcome),
            (Await::User { name }, LdapResponse::Bound(outcome)) => match outcome.code {
                0 => Next::Done(Ok(())),
                _ => self.fail(FaultKind::Login { name, reply: outcome.into() }),
            },
            _ => self.fail(FaultKind::Malformed),
        }
    }

    fn search(&self) -> &'a Search {
        match &self.directory.way {
            EntryDn::Found(search) => search,
            EntryDn::Made { .. } => unreachable!("nobody searches for a name that is made"),
        }
    }

    fn searcher_bound(&mut self, outcome: LdapResult<'_>) -> Next {
        let search = self.search();
        if outcome.code != 0 {
            let (name, reply) = (search.name.clone(), outcome.into());
            return self.fail(FaultKind::Searcher { name, reply });
        }
        self.state = Await::Entries(Vec::new());
        let filter = search.filter_for(self.user);
        match message::search(self.state.number(), &search.base, search.scope, &filter) {
            Ok(bytes) => Next::Send(bytes),
            Err(_) => self.fail(FaultKind::NoFilter { filter }),
        }
    }

    fn searched(&mut self, mut names: Vec<String>, outcome: LdapResult<'_>) -> Next {
        let filter = self.search().filter_for(self.user);
        let is_cut = outcome.code == SIZE_LIMIT_EXCEEDED;
        match (names.len(), outcome.code) {
            (2.., _) => self.fail(FaultKind::SeveralEntries { filter }),
            (1, 0) => {
                let name = names.remove(0);
                match name.is_empty() {
                    // A bind without a name succeeds whatever the password.
                    true => self.fail(FaultKind::NoEntry { filter }),
                    false => self.bind(name),
                }
            }
            (1, _) if is_cut => self.fail(FaultKind::SeveralEntries { filter }),
            (_, 0) => self.fail(FaultKind::NoEntry { filter }),
            _ => self.fail(FaultKind::Search { filter, reply: outcome.into() }),
        }
    }

    /// The bind that decides: with the client's password.
    fn bind(&mut self, name: String) -> Next {
        if self.password.as_bytes().is_empty() || name.is_empty() {
            let reply = LdapRefusal { code: INVALID_CREDENTIALS, text: String::new() };
            return self.fail(FaultKind::Login { name, reply });
        }
        let state = Await::User { name: name.clone() };
        self.state = state;
        Next::Send(message::bind(self.state.number(), &name, self.password.as_bytes()))
    }

    fn fail(&self, kind: FaultKind) -> Next {
        Next::Done(Err(Fault { host: self.host.clone(), kind }))
    }
}

const SIZE_LIMIT_EXCEEDED: u32 = 4;
const INVALID_CREDENTIALS: u32 = 49;

/// Characters that would change the meaning of the configured filter. A user whose name has one of
/// them is not searched for, as in PostgreSQL.
const SPECIAL: [char; 5] = ['*', '(', ')', '\\', '/'];

/// A value, escaped for use within the name of an entry (RFC 4514, section 2.4), so that no user
/// name leads to another branch of the directory.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, letter) in value.char_indices() {
        let is_edge = at == 0 || at + letter.len_utf8() == value.len();
        let needs = matches!(letter, '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=')
            || letter == '#' && at == 0
            || letter == ' ' && is_edge;
        if needs {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADE: &str = r#"ldapserver=h ldapprefix="uid=" ldapsuffix=",dc=net""#;
    const FOUND: &str = "ldapserver=h ldapbasedn=dc=net ldapbinddn=cn=r ldapbindpasswd=rpw";

    fn answer(number: u8, tag: u8, code: u8) -> Vec<u8> {
        vec![0x30, 0x0c, 2, 1, number, tag, 7, 0x0a, 1, code, 4, 0, 4, 0]
    }

    fn entry(name: &str) -> Vec<u8> {
        let len = name.len() as u8;
        let head = [0x30, 9 + len, 2, 1, 3, 0x64, 4 + len, 4, len];
        [&head[..], name.as_bytes(), &[0x30, 0]].concat()
    }

    const BOUND: u8 = 0x61;
    const FOUND_ALL: u8 = 0x65;
    const EXTENDED: u8 = 0x78;

    /// The step that follows a directory's messages, and the last bytes that were sent to it.
    fn play(
        options: &str,
        user: &str,
        messages: &[Vec<u8>],
    ) -> (Option<Result<(), FaultKind>>, Vec<u8>) {
        let directory = Directory::parse(options.as_bytes()).expect("options");
        let password = Password::new(b"pw");
        let mut dialogue = Dialogue::new(&directory, user, &password);
        let (mut next, mut last) = (dialogue.begin("h"), Vec::new());
        let mut messages = messages.iter();
        loop {
            match next {
                Next::Send(bytes) => last = bytes,
                Next::Read => {}
                Next::Secure => {
                    next = dialogue.secured();
                    continue;
                }
                Next::Done(done) => return (Some(done.map_err(|fault| fault.kind)), last),
            }
            match messages.next() {
                Some(message) => next = dialogue.received(message),
                None => return (None, last),
            }
        }
    }

    fn names(bytes: &[u8], text: &str) -> bool {
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    }

    #[test]
    fn a_made_name_is_bound_to_with_the_clients_password() {
        let (done, sent) = play(MADE, "joe", &[]);
        assert!(done.is_none() && names(&sent, "uid=joe,dc=net") && names(&sent, "pw"));
        assert_eq!(play(MADE, "joe", &[answer(4, BOUND, 0)]).0, Some(Ok(())));
        let (done, _) = play(MADE, "joe", &[answer(4, BOUND, 49)]);
        let reply = LdapRefusal { code: 49, text: String::new() };
        let name = "uid=joe,dc=net".to_owned();
        assert_eq!(done, Some(Err(FaultKind::Login { name, reply })));
    }

    #[test]
    fn a_name_stays_in_its_branch() {
        let (_, sent) = play(MADE, "joe,ou=x", &[]);
        assert!(names(&sent, r"uid=joe\,ou\=x,dc=net"));
        let (_, sent) = play("ldapserver=h ldapsuffix=@net", "a,b", &[]);
        assert!(names(&sent, "a,b@net"), "no name of an entry");
        assert_eq!(escaped(" #a b# "), r"\ #a b#\ ");
        assert_eq!(escaped("#a"), r"\#a");
    }

    #[test]
    fn an_entry_that_was_found_is_bound_to() {
        let found = [answer(2, BOUND, 0), entry("cn=j"), answer(3, FOUND_ALL, 0)];
        let (done, sent) = play(FOUND, "joe", &found[..1]);
        assert!(done.is_none() && names(&sent, "dc=net") && names(&sent, "joe"));
        let (done, sent) = play(FOUND, "joe", &found);
        assert!(done.is_none() && names(&sent, "cn=j") && names(&sent, "pw"));
        let whole = [&found[..], &[answer(4, BOUND, 0)]].concat();
        assert_eq!(play(FOUND, "joe", &whole).0, Some(Ok(())));
    }

    #[test]
    fn only_one_entry_will_do() {
        let several = FaultKind::SeveralEntries { filter: "(uid=joe)".to_owned() };
        let nobody = FaultKind::NoEntry { filter: "(uid=joe)".to_owned() };
        let end = |code| answer(3, FOUND_ALL, code);
        for (messages, kind) in [
            (vec![entry("a"), entry("b"), end(0)], several.clone()),
            (vec![entry("a"), entry("b"), entry("c"), end(4)], several.clone()),
            (vec![entry("a"), end(4)], several),
            (vec![end(0)], nobody.clone()),
            (vec![entry(""), end(0)], nobody),
        ] {
            let messages = [vec![answer(2, BOUND, 0)], messages].concat();
            assert_eq!(play(FOUND, "joe", &messages).0, Some(Err(kind)));
        }
        let (done, _) = play(FOUND, "joe", &[answer(2, BOUND, 0), end(32)]);
        assert!(matches!(done, Some(Err(FaultKind::Search { .. }))));
    }

    #[test]
    fn a_name_does_not_change_the_filter() {
        for user in ["*", "a)(b", "a\\2a", "a/b"] {
            assert_eq!(play(FOUND, user, &[]).0, Some(Err(FaultKind::Letter)), "{user}");
        }
    }

    #[test]
    fn nobody_comes_in_by_an_answer_to_something_else() {
        for message in [
            answer(1, BOUND, 0),
            answer(0, BOUND, 0),
            answer(4, EXTENDED, 0),
            answer(4, FOUND_ALL, 0),
            b"\x30\x05\x02\x01\x04\x61\0".to_vec(),
        ] {
            let (done, _) = play(MADE, "joe", &[message]);
            assert_eq!(done, Some(Err(FaultKind::Malformed)));
        }
        let (done, _) = play(FOUND, "joe", &[answer(4, BOUND, 0)]);
        assert_eq!(done, Some(Err(FaultKind::Malformed)));
        let (done, _) = play(FOUND, "joe", &[answer(2, BOUND, 49)]);
        assert!(matches!(done, Some(Err(FaultKind::Searcher { .. }))));
    }

    #[test]
    fn an_empty_password_is_never_sent_as_a_users() {
        let directory = Directory::parse(MADE.as_bytes()).unwrap();
        let password = Password::new(b"");
        let mut dialogue = Dialogue::new(&directory, "joe", &password);
        assert!(matches!(dialogue.begin("h"), Next::Done(Err(_))));
    }

    #[cfg(feature = "tls")]
    #[test]
    fn nothing_is_said_in_clear_where_tls_is_wanted() {
        let options = format!("{MADE} ldaptls=1");
        let (done, sent) = play(&options, "joe", &[]);
        assert!(done.is_none() && !names(&sent, "pw") && !names(&sent, "joe"));
        let (done, sent) = play(&options, "joe", &[answer(1, EXTENDED, 2)]);
        assert!(matches!(done, Some(Err(FaultKind::Tls(_)))) && !names(&sent, "pw"));
        let (done, sent) = play(&options, "joe", &[answer(1, EXTENDED, 0)]);
        assert!(done.is_none() && names(&sent, "uid=joe"));
    }
}
