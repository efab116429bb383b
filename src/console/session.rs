//! One console session while one of its messages is handled: the answer so far, and what the core
//! keeps of the session. Which commands there are is not known here.

use std::borrow::Cow;

use super::data_row;
use super::refusal::Refusal;
use super::table::{Buffers, Scene, Table};
use crate::log::Level;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::ClientId;
use crate::pool::records::client::{ConsoleSession, ConsoleState, PendingCommand, Script};
use crate::pool::telling::events::{Concern, MetReason};
use crate::wire::build::{self, ErrorReport, Severity};
use crate::wire::formats::Formats;
use crate::wire::sqlstate;

/// Once the answers to one string are longer, in bytes, its next command is refused.
pub const LONGEST_REPLY_BYTES: usize = 16 * 1024 * 1024;

/// How much one session is answered in one turn of the loop, in bytes; its next command waits for
/// the next turn.
const MOST_IN_A_TURN_BYTES: usize = 32 * 1024;

/// How many bytes a command counts at least towards that limit, however short its answer is.
const LEAST_FOR_A_COMMAND_BYTES: usize = 256;

/// The most bytes of an answer that wait for a Sync or Flush.
const MOST_UNSENT_BYTES: usize = 16 * 1024;

/// How a command ended, if it is not refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Done {
    /// The session, or the process, is over: nothing is answered.
    Over,
    Tag(Cow<'static, str>),
    /// The command takes time, and is answered with this tag when it succeeds.
    Waits(&'static str),
}

/// How a command ended, or why it is refused.
pub type CommandResult = Result<Done, Refusal>;

impl Done {
    pub fn tag(tag: &'static str) -> Done {
        Done::Tag(Cow::Borrowed(tag))
    }
}

/// The formats of rows, and whether a RowDescription comes first.
#[derive(Clone, Copy)]
pub enum RowFormat {
    /// In the formats that Bind has asked for, without a RowDescription: Describe asks for that.
    Bound(Formats),
    /// As text, after their RowDescription.
    Described,
}

/// A session while one of its messages is handled.
pub struct ConsoleTurn<'a> {
    pub core: &'a mut Core,
    pub buffers: &'a dyn Buffers,
    pub id: ClientId,
    /// The answer so far.
    pub out: Vec<u8>,
    /// Whether the answer may wait for the next Sync or Flush, as PostgreSQL's does: some drivers
    /// stumble over an answer that comes in pieces.
    pub may_wait: bool,
    pub rows: RowFormat,
}

impl<'a> ConsoleTurn<'a> {
    pub fn new(core: &'a mut Core, buffers: &'a dyn Buffers, id: ClientId) -> ConsoleTurn<'a> {
        ConsoleTurn {
            core,
            buffers,
            id,
            out: Vec::new(),
            may_wait: false,
            rows: RowFormat::Described,
        }
    }

    /// Sends the answer, or keeps it for later.
    pub fn send(mut self) {
        let mut answer = std::mem::take(&mut self.out);
        let may_wait = self.may_wait;
        if let Some(state) = self.state()
            && (may_wait || !state.unsent.is_empty())
        {
            state.unsent.append(&mut answer);
            if may_wait && state.unsent.len() < MOST_UNSENT_BYTES {
                return;
            }
            answer = std::mem::take(&mut state.unsent);
        }
        if !answer.is_empty() {
            self.core.send_client(self.id, answer);
        }
    }

    /// Notes how a command that takes time is to be answered.
    pub fn wait(&mut self, tag: Option<&'static str>, script: Option<Script>) {
        let since = self.core.mono();
        if let Some(console) = self.core.console_mut(self.id) {
            console.pending = Some(PendingCommand { tag, since, script });
        }
    }

    /// Notes how much the session has been answered in this turn of the loop, and tells whether it
    /// must now let others go first. `answered` is how many bytes of the answer were noted before.
    pub fn has_had_its_turn(&mut self, answered: usize) -> bool {
        let bytes = (self.out.len() - answered).max(LEAST_FOR_A_COMMAND_BYTES);
        let now = self.core.mono();
        let Some(console) = self.core.console_mut(self.id) else { return false };
        if console.answered.0 != now {
            console.answered = (now, 0);
        }
        console.answered.1 += bytes;
        console.answered.1 >= MOST_IN_A_TURN_BYTES
    }

    /// Ends a message. If the session has had its turn, its next messages wait.
    pub fn end_message(&mut self) {
        let is_free = |console: &ConsoleState| console.wait.is_none() && console.pending.is_none();
        if self.console().is_some_and(is_free) && self.has_had_its_turn(0) {
            self.let_others_go_first(None);
        }
    }

    /// Goes on in the next turn, with `script` if there is one.
    pub fn let_others_go_first(&mut self, script: Option<Script>) {
        self.wait(None, script);
        self.core.wait_for_turn(self.id);
    }

    /// Answers with the error of a refused command, logs the error and counts it.
    pub fn refuse(&mut self, refusal: &Refusal) {
        let (message, detail) = (refusal.to_string(), refusal.detail());
        let hint = refusal.hint();
        build::report(
            &mut self.out,
            &ErrorReport {
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
        self.core.tally(MetReason {
            concern: Concern::Client,
            kind: refusal.kind(),
            sqlstate: refusal.sqlstate(),
            hint: None,
            is_trouble: true,
            database: CONSOLE,
            user: &user,
            detail: detail.as_deref().unwrap_or(&message),
        });
    }

    /// The same in an extended query: all messages up to Sync are then ignored.
    pub fn fail(&mut self, refusal: &Refusal) {
        self.refuse(refusal);
        if let Some(state) = self.state() {
            state.is_skipping = true;
        }
    }

    pub fn is_skipping(&self) -> bool {
        self.console().is_some_and(|console| console.session.is_skipping)
    }

    pub fn notice(&mut self, message: &str, detail: Option<&str>) {
        let severity = Severity::Notice;
        let sqlstate = sqlstate::SUCCESSFUL;
        build::report(
            &mut self.out,
            &ErrorReport { severity, sqlstate, message, detail, hint: None },
        );
    }

    pub fn ready(&mut self) {
        build::ready_for_query(&mut self.out, b'I');
    }

    /// Appends a table.
    pub fn push_table(&mut self, table: &dyn Table) {
        let formats = match self.rows {
            RowFormat::Bound(formats) => formats,
            RowFormat::Described => {
                data_row::push_description(&mut self.out, table, Formats::TEXT);
                Formats::TEXT
            }
        };
        let scene = Scene { core: self.core, buffers: self.buffers };
        data_row::push_rows(&mut self.out, table, scene, formats);
    }

    pub fn console(&self) -> Option<&ConsoleState> {
        self.core.console(self.id)
    }

    pub fn is_admin(&self) -> bool {
        self.console().is_some_and(|console| console.is_admin)
    }

    /// Statements and portals of the extended protocol.
    pub fn state(&mut self) -> Option<&mut ConsoleSession> {
        self.core.console_mut(self.id).map(|console| &mut console.session)
    }
}
