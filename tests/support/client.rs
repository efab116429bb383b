//! A client that logs in and runs queries: small enough to be held at any point of the protocol.

use std::collections::BTreeMap;

use super::scram::{MECHANISM, ScramClient, md5_response};
use super::wire::{self, Gone, Message, Wire};

/// Who a client says it is.
#[derive(Clone, Debug)]
pub struct Login<'a> {
    pub user: &'a str,
    pub password: &'a str,
    pub database: &'a str,
    /// Startup parameters beside user and database.
    pub parameters: &'a [(&'a str, &'a str)],
}

/// A client after its login.
pub struct Client {
    pub wire: Wire,
    /// What ParameterStatus messages said last.
    pub parameters: BTreeMap<String, String>,
    /// Process id and secret of BackendKeyData, as a CancelRequest sends them back.
    pub cancel_key: Vec<u8>,
    /// Notifications and notices, in the order in which they came.
    pub asides: Vec<Message>,
}

/// The answer to one simple query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    pub tags: Vec<String>,
    /// 'I' idle, 'T' in a transaction, 'E' in a failed one.
    pub state: char,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An ErrorResponse.
    Error {
        code: String,
        message: String,
        detail: String,
    },
    Gone(Gone),
}

impl Client {
    /// Logs in or fails the test.
    pub fn login(port: u16, user: &str, password: &str, database: &str) -> Client {
        let login = Login { user, password, database, parameters: &[] };
        Client::attempt(port, &login).unwrap_or_else(|e| panic!("{login:?} is refused: {e:?}"))
    }

    pub fn attempt(port: u16, login: &Login) -> Result<Client, Failure> {
        Client::attempt_by(0, port, login)
    }

    /// The same by protocol 3.`minor`, which must be spoken.
    pub fn attempt_by(minor: u32, port: u16, login: &Login) -> Result<Client, Failure> {
        let mut wire = Wire::connect(port);
        let mut parameters = vec![("user", login.user), ("database", login.database)];
        parameters.extend_from_slice(login.parameters);
        wire.send(&wire::startup_by(minor, &parameters));
        authenticate(&mut wire, login)?;
        let mut client =
            Client { wire, parameters: BTreeMap::new(), cancel_key: vec![], asides: vec![] };
        client.answer()?;
        Ok(client)
    }

    /// Runs a simple query and reads its answer to the end. An error is the result when the query
    /// failed, also when rows came before it.
    pub fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        self.wire.send(&wire::query(sql));
        self.answer()
    }

    /// The first value of the first row, or a failed test.
    pub fn one(&mut self, sql: &str) -> String {
        let answer = self.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let first = answer.rows.first().and_then(|row| row.first()).cloned().flatten();
        first.unwrap_or_else(|| panic!("{sql}: no value"))
    }

    /// Reads the answers up to ReadyForQuery.
    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let mut failure = None;
        loop {
            let message = self.wire.hear().map_err(|gone| failure.take().unwrap_or(gone.into()))?;
            match message.kind {
                b'C' => answer.tags.push(message.text()),
                b'D' => answer.rows.push(message.values()),
                b'E' => failure = Some(Failure::from(&message)),
                b'T' => answer.columns = columns(&message),
                b'Z' => {
                    answer.state = message.body[0] as char;
                    return failure.map_or(Ok(answer), Err);
                }
                _ => self.note(message),
            }
        }
    }

    /// Sends a CancelRequest for this client on a connection of its own and waits for its end.
    pub fn cancel(&self, port: u16) {
        let mut wire = Wire::connect(port);
        wire.send(&wire::packet(wire::CANCEL, &self.cancel_key));
        wire.hear_to_the_end();
    }

    /// Says goodbye; dropping a client just closes its socket.
    pub fn terminate(mut self) {
        self.wire.say(b'X', &[]);
    }

    fn note(&mut self, message: Message) {
        match message.kind {
            b'K' => self.cancel_key = message.body,
            b'S' => {
                let text = message.text();
                let (name, value) = text.split_once('\0').expect("a name and a value");
                self.parameters.insert(name.into(), value.into());
            }
            _ => self.asides.push(message),
        }
    }
}

impl Failure {
    pub fn code(&self) -> &str {
        if let Failure::Error { code, .. } = self { code } else { "" }
    }

    /// The words of the error; empty when the connection just ended.
    pub fn message(&self) -> &str {
        if let Failure::Error { message, .. } = self { message } else { "" }
    }
}

impl From<&Message> for Failure {
    fn from(message: &Message) -> Failure {
        let field = |code| message.field(code).unwrap_or_default();
        Failure::Error { code: field('C'), message: field('M'), detail: field('D') }
    }
}

impl From<Gone> for Failure {
    fn from(gone: Gone) -> Failure {
        Failure::Gone(gone)
    }
}

/// Answers whatever the other side asks for until it says AuthenticationOk.
fn authenticate(wire: &mut Wire, login: &Login) -> Result<(), Failure> {
    let mut scram = ScramClient::new(login.password);
    loop {
        let message = wire.hear()?;
        match message.kind {
            b'E' => return Err(Failure::from(&message)),
            b'R' => {}
            b'N' | b'v' => continue,
            other => panic!("message {:?} while logging in", other as char),
        }
        let rest = &message.body[4..];
        let rest_text = || String::from_utf8_lossy(rest).into_owned();
        match message.number() {
            0 => return Ok(()),
            3 => wire.say(b'p', format!("{}\0", login.password).as_bytes()),
            5 => {
                let response = md5_response(login.user, login.password, rest);
                wire.say(b'p', format!("{response}\0").as_bytes())
            }
            10 => {
                assert!(rest_text().contains(MECHANISM), "{MECHANISM} is offered");
                wire.say(b'p', &scram.initial())
            }
            11 => wire.say(b'p', scram.last(&rest_text()).as_bytes()),
            12 => {
                assert!(scram.is_genuine(&rest_text()), "the other side knows the password");
                true
            }
            other => panic!("authentication request {other}"),
        };
    }
}

fn columns(description: &Message) -> Vec<String> {
    let mut rest = &description.body[2..];
    let mut names = Vec::new();
    while let Some(end) = rest.iter().position(|b| *b == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = &rest[end + 19..];
    }
    names
}
