//! The small SQL of the simulated servers: a word, its arguments, and a tag that comes back in the
//! answer.

use super::traces::{self, Kind};

/// One statement. `text` is all of it, so that an answer shows which query it belongs to.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    Begin,
    /// Clears these kinds of state in the session.
    Clear {
        kinds: Vec<Kind>,
        tag: &'static str,
    },
    Commit,
    CopyIn {
        text: String,
    },
    CopyOut {
        text: String,
        count: usize,
        size: usize,
    },
    DeallocateAll,
    Deallocate {
        name: String,
    },
    DiscardAll,
    /// Fails when it is run.
    Fail {
        text: String,
    },
    /// Leaves state in the session.
    Leave {
        kind: Kind,
        name: String,
    },
    /// Returns a row if the session holds locks.
    Locks,
    /// Returns rows with the text, the values of the parameters, and padding; after `sleep_us`.
    Rows {
        text: String,
        count: usize,
        size: usize,
        sleep_us: u64,
    },
    /// Returns name and secret of a user, as auth_query asks for.
    Lookup(Lookup),
    Notice {
        text: String,
    },
    Notify {
        text: String,
    },
    Reset {
        name: String,
    },
    Rollback,
    Set {
        name: String,
        value: String,
        is_function: bool,
    },
    Show {
        name: String,
    },
    /// Returns a row with all state in the session.
    State,
    /// Returns a row for each channel of the session.
    Channels,
    /// Notifies sessions that listen to the channel when the transaction is committed.
    Publish {
        channel: String,
        text: String,
    },
    /// Returns the number of the transaction.
    Transaction,
    /// Returns whether a transaction was committed.
    TransactionStatus {
        number: u64,
    },
    Unlisten {
        channel: String,
    },
}

/// How a server answers auth_query.
#[derive(Clone, PartialEq, Debug)]
pub struct Lookup {
    /// The plan with one letter for each query, see [`super::lookup`].
    pub plan: String,
    /// The form in which the secret is stored.
    pub form: String,
}

/// Parses statements between semicolons. `None` is a syntax error.
pub fn parse(text: &str) -> Option<Vec<Statement>> {
    split(text).into_iter().filter(|part| !part.trim().is_empty()).map(|p| one(p.trim())).collect()
}

/// Whether a statement reads the table that changes now and then, which outdates prepared
/// statements.
pub fn reads_table(text: &str) -> bool {
    text.starts_with("TABLE ")
}

/// The number of parameters of a statement: one for each dollar sign.
pub fn parameters(text: &str) -> usize {
    text.matches('$').count()
}

fn split(text: &str) -> Vec<&str> {
    if !text.contains(';') {
        return vec![text];
    }
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn one(text: &str) -> Option<Statement> {
    if let Some(statement) = traces::parse(text) {
        return Some(statement);
    }
    let words: Vec<&str> = text.split(' ').take(3).collect();
    let owned = || text.to_owned();
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok());
    Some(match words[0] {
        "BEGIN" => Statement::Begin,
        "COMMIT" => Statement::Commit,
        "ROLLBACK" => Statement::Rollback,
        "SELECT" if text.starts_with("SELECT pg_catalog.set_config(") => set_config(text)?,
        "SELECT" | "TABLE" => Statement::Rows { text: owned(), count: 1, size: 0, sleep_us: 0 },
        "ROWS" => {
            Statement::Rows { text: owned(), count: number(1)?, size: number(2)?, sleep_us: 0 }
        }
        "SLEEP" => {
            Statement::Rows { text: owned(), count: 1, size: 0, sleep_us: number(1)? as u64 }
        }
        "FAIL" => Statement::Fail { text: owned() },
        "COPYIN" => Statement::CopyIn { text: owned() },
        "COPYOUT" => Statement::CopyOut { text: owned(), count: number(1)?, size: number(2)? },
        "LOOKUP" => Statement::Lookup(Lookup {
            plan: words.get(1)?.to_string(),
            form: words.get(2)?.to_string(),
        }),
        "NOTICE" => Statement::Notice { text: owned() },
        "PUBLISH" => Statement::Publish {
            channel: words.get(1)?.to_string(),
            text: words.get(2)?.to_string(),
        },
        "NOTIFY" => Statement::Notify { text: owned() },
        "SHOW" => Statement::Show { name: words.get(1)?.to_string() },
        "RESET" => Statement::Reset { name: words.get(1)?.to_string() },
        "SET" => {
            let (name, value) = text[4..].split_once('=')?;
            let value = literal(value.trim())?;
            Statement::Set { name: name.trim().to_owned(), value, is_function: false }
        }
        "DISCARD" => Statement::DiscardAll,
        "DEALLOCATE" if words.get(1) == Some(&"ALL") => Statement::DeallocateAll,
        "DEALLOCATE" => Statement::Deallocate { name: words.get(1)?.to_string() },
        _ => return None,
    })
}

fn set_config(text: &str) -> Option<Statement> {
    let arguments = text.split_once("set_config('")?.1.strip_suffix(", false)")?;
    let (name, value) = arguments.split_once("', ")?;
    let (name, value) = (name.to_owned(), literal(value)?);
    Some(Statement::Set { name, value, is_function: true })
}

/// The value of a literal, in quotes or in dollar quotes.
fn literal(text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('$') {
        let tag = &text[..rest.find('$')? + 2];
        return text.strip_prefix(tag)?.strip_suffix(tag).map(str::to_owned);
    }
    Some(text.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'"))
}
