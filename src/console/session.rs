//! One console session: its messages, strings of commands, and the commands that it waits for.

use super::Buffers;
use super::command;
use super::control::Done;
use super::parse;
use super::refusal::{Hint, Refusal};
use super::table::{Scene, Table, push_description};
use crate::log::Level;
use crate::pool::client::{ConsoleState, Pending, Script};
use crate::pool::core::Core;
use crate::pool::events::{Concern, Met};
use crate::pool::ids::ClientId;
use crate::pool::wait::Outcome;
use crate::wire::build::{self, Report, Severity};
use crate::wire::kind::{Back, Front};
use crate::wire::sqlstate;

/// Commands in one string.
const MOST_COMMANDS: usize = 100;

/// When the answers to one string are longer, in bytes, no further command of it is carried out.
pub const LONGEST_REPLY: usize = 16 * 1024 * 1024;

/// A session for as long as one message of it is dealt with.
pub struct Session<'a> {
    pub core: &'a mut Core,
    pub buffers: &'a dyn Buffers,
    pub id: ClientId,
    /// The answer so far.
    pub out: Vec<u8>,
    /// Whether rows are preceded by what they are: not in the extended protocol, which asks.
    pub describes: bool,
}

impl<'a> Session<'a> {
    pub fn new(core: &'a mut Core, buffers: &'a dyn Buffers, id: ClientId) -> Session<'a> {
        Session { core, buffers, id, out: Vec::new(), describes: true }
    }

    /// Hands the answer over.
    pub fn send(self) {
        if !self.out.is_empty() {
            self.core.send_client(self.id, self.out);
        }
    }

    /// A message, whole.
    pub fn message(&mut self, kind: u8, body: &[u8]) {
        let kind_of = Front::from_byte(kind);
        if self.is_skipping() && kind_of != Some(Front::Sync) {
            return;
        }
        match kind_of {
            Some(Front::Query) => self.query(body),
            // The judge has closed the session already.
            Some(Front::Terminate) => {}
            Some(Front::Parse) => self.extended(|session| session.parse(body)),
            Some(Front::Bind) => self.extended(|session| session.bind(body)),
            Some(Front::Describe) => self.extended(|session| session.describe(body)),
            Some(Front::Execute) => self.extended(|session| session.execute(body)),
            Some(Front::Close) => self.extended(|session| session.close(body)),
            Some(Front::Sync) => self.sync(),
            // What was answered has been sent already; COPY data can only be late.
            Some(Front::Flush | Front::CopyData | Front::CopyDone | Front::CopyFail) => {}
            Some(Front::FunctionCall | Front::Password) | None => {
                self.refuse(&Refusal::UnknownMessage(kind));
                self.ready();
            }
        }
    }

    fn query(&mut self, body: &[u8]) {
        self.core.count_command(self.id);
        let end = body.iter().position(|&byte| byte == 0);
        let Some(end) = end else {
            self.refuse(&Refusal::MalformedMessage);
            return self.ready();
        };
        let text = String::from_utf8_lossy(&body[..end]);
        self.run(&text, Script::default());
    }

    /// Carries out the commands of a string, up to one that takes time. `done` tells what was done
    /// of the string before.
    fn run(&mut self, script: &str, mut done: Script) {
        let mut rest = script;
        while let Some(found) = parse::next(&mut rest) {
            done.commands += 1;
            let is_all = done.commands == 1 && rest.trim().is_empty();
            let text = if is_all { Some(script) } else { None };
            let result = self.check_length(&done).and_then(|()| {
                let unterminated = |_| Refusal::invalid(script, Hint::Unterminated);
                let statement = found.map_err(unterminated)?;
                command::run(self, &statement.tokens, text.unwrap_or(statement.text))
            });
            match result {
                Ok(Done::Tag(tag)) => build::command_complete(&mut self.out, &tag),
                Ok(Done::Waits(tag)) => {
                    done.rest = rest.into();
                    done.bytes += self.out.len();
                    return self.wait(tag, Some(done));
                }
                Ok(Done::Over) => return,
                Err(refusal) => {
                    self.refuse(&refusal);
                    return self.ready();
                }
            }
        }
        if done.commands == 0 {
            build::empty_back(&mut self.out, Back::EmptyQuery);
        }
        self.ready();
    }

    fn check_length(&self, done: &Script) -> Result<(), Refusal> {
        if done.commands > MOST_COMMANDS {
            return Err(Refusal::TooManyCommands);
        }
        let is_long = done.bytes + self.out.len() > LONGEST_REPLY;
        if is_long { Err(Refusal::ReplyTooLong) } else { Ok(()) }
    }

    /// Notes how a command that takes time is to be answered.
    pub fn wait(&mut self, tag: &'static str, script: Option<Script>) {
        let since = self.core.mono();
        if let Some(console) = self.core.console_mut(self.id) {
            console.pending = Some(Pending { tag, since, script });
        }
    }

    /// The command that was waited for has ended.
    pub fn finish(&mut self, outcome: Outcome) {
        let Some(console) = self.core.console_mut(self.id) else { return };
        let Some(Pending { tag, since, script }) = console.pending.take() else { return };
        let after = self.core.mono().since(since);
        let refusal = match outcome {
            Outcome::Done => None,
            Outcome::Gone => Some(Refusal::Gone),
            Outcome::ReloadFailed(first) => Some(Refusal::ReloadFailed(first.into())),
            Outcome::Resumed => Some(Refusal::Resumed),
            Outcome::TimedOut { holders, is_resumed } => {
                Some(Refusal::TimedOut { holders: holders.into(), is_resumed, after })
            }
        };
        match (refusal, script) {
            (None, None) => build::command_complete(&mut self.out, tag),
            (None, Some(script)) => {
                build::command_complete(&mut self.out, tag);
                let rest = script.rest.clone();
                self.run(&rest, script);
            }
            (Some(refusal), None) => self.fail(&refusal),
            (Some(refusal), Some(_)) => {
                self.refuse(&refusal);
                self.ready();
            }
        }
    }

    /// Tells why a command is not carried out.
    pub fn refuse(&mut self, refusal: &Refusal) {
        let (message, detail) = (refusal.to_string(), refusal.detail());
        let hint = refusal.hint();
        build::report(
            &mut self.out,
            &Report {
                severity: Severity::Error,
                sqlstate: refusal.sqlstate(),
                message: &message,
                detail: detail.as_deref(),
                hint: hint.as_deref(),
            },
        );
        self.core.log(Level::Error, message.clone());
        if self.core.settings().log_pooler_errors {
            self.core.log_client(Level::Warning, self.id, format_args!("pooler error: {message}"));
        }
        let user = self.console().map(|console| console.user.clone()).unwrap_or_default();
        self.core.tally(Met {
            concern: Concern::Client,
            kind: refusal.kind(),
            database: crate::pool::core::CONSOLE,
            user: &user,
            detail: detail.as_deref().unwrap_or(&message),
        });
    }

    pub fn notice(&mut self, message: &str, detail: Option<&str>) {
        let severity = Severity::Notice;
        let sqlstate = sqlstate::SUCCESSFUL;
        build::report(&mut self.out, &Report { severity, sqlstate, message, detail, hint: None });
    }

    pub fn ready(&mut self) {
        build::ready_for_query(&mut self.out, b'I');
    }

    /// Appends what a table says of its columns.
    pub fn push_description(&mut self, table: &dyn Table) {
        push_description(&mut self.out, table);
    }

    /// Appends the rows of a table.
    pub fn push_rows(&mut self, table: &dyn Table) {
        let scene = Scene { core: self.core, buffers: self.buffers };
        table.push_rows(&mut self.out, scene);
    }

    pub fn console(&self) -> Option<&ConsoleState> {
        self.core.console(self.id)
    }

    pub fn is_admin(&self) -> bool {
        self.console().is_some_and(|console| console.is_admin)
    }
}
