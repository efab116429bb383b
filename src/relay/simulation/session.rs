//! One PostgreSQL session as a state machine: messages in, messages out.
//!
//! The simulated servers run it, and so does the shadow of each client: there it says what the
//! client must see. It follows the manual's "Message Flow" and PostgreSQL 17. Of the pooler it
//! knows only the few rules in [`Pooled`], for cases in which a client of the pooler cannot see
//! what a session would show.

use std::collections::{BTreeMap, BTreeSet};

use super::parameters::Parameters;
use super::sql::{self, Statement};
use super::traces;
use super::walsender::{self, Walsender};
use super::wire::{self, Packet};
use crate::config::SessionState;
use crate::wire::fields::Fields;
use crate::wire::kind::{Back, Front};

/// What the pooler does instead of a server.
#[derive(Clone, Copy, Debug)]
pub struct Pooled {
    /// Whether named statements follow the client.
    pub tracks: bool,
    /// Whether transaction blocks are refused.
    pub is_statement_mode: bool,
    /// What happens to the state that clients leave in the sessions of servers.
    pub policy: SessionState,
    /// Whether one connection listens for all clients.
    pub shares: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether parameters are reported before ReadyForQuery, as since PostgreSQL 14, and not at
    /// once.
    pub late_reports: bool,
    /// The rules of the pooler, in shadows only.
    pub pooled: Option<Pooled>,
}

/// The results of a message, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Out {
    /// With `is_sticky` the transaction had begun before, so the same server must answer.
    Packet { packet: Packet, is_sticky: bool },
    /// The statement takes this many microseconds, and can be cancelled meanwhile.
    Sleep(u64),
    /// Collected replies are sent.
    Flush,
    /// All sessions that listen to the channel are notified.
    Publish { channel: String, text: String },
    /// The pooler ends the client with these words.
    Fatal(&'static str),
    /// The session ends.
    End,
}

/// An error of the server.
#[derive(Clone, Debug)]
pub struct Failure {
    pub sqlstate: &'static str,
    pub text: String,
}

pub fn failure(sqlstate: &'static str, text: impl Into<String>) -> Failure {
    Failure { sqlstate, text: text.into() }
}

/// The state of the explicit transaction block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Block {
    None,
    Open,
    Failed,
}

/// A COPY FROM STDIN under way.
#[derive(Clone, Debug)]
struct CopyIn {
    text: String,
    bytes: usize,
    is_simple: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub text: String,
    /// Everything after the name, as it came.
    pub key: Vec<u8>,
    /// How often the table had changed when the statement was prepared.
    pub changes: u32,
}

#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub text: String,
    pub values: Vec<Vec<u8>>,
    /// Rows returned so far; `None` after a command without rows.
    pub given: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct Session {
    /// The number of the session; 0 in a shadow.
    pub number: u32,
    pub(super) rules: Rules,
    pub parameters: Parameters,
    pub(super) statements: BTreeMap<String, Prepared>,
    pub(super) portals: BTreeMap<String, Portal>,
    pub block: Block,
    /// Whether an extended query has begun a transaction, which Sync will end.
    pub(super) is_started: bool,
    /// Whether messages are skipped up to Sync, after an error in an extended query.
    pub is_skipping: bool,
    copy: Option<CopyIn>,
    pub has_ended: bool,
    /// The number of auth_query runs so far.
    pub(super) lookups: usize,
    /// How often the table has changed; never in a shadow.
    pub changes: u32,
    /// Whether the transaction has read the table, which cannot change before its end.
    pub holds_table: bool,
    /// The number of statements refused because the table has changed.
    pub refused: usize,
    /// Notifications that are sent when the transaction is committed.
    unpublished: Vec<Out>,
    /// What a session has more that was opened for replication.
    pub walsender: Option<Walsender>,
    /// The number of the transaction, and the numbers of committed ones.
    transaction: u64,
    committed: BTreeSet<u64>,
    out: Vec<Out>,
}

impl Session {
    pub fn new(number: u32, rules: Rules, parameters: Parameters) -> Session {
        Session {
            number,
            rules,
            parameters,
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            block: Block::None,
            is_started: false,
            is_skipping: false,
            copy: None,
            has_ended: false,
            lookups: 0,
            changes: 0,
            holds_table: false,
            refused: 0,
            unpublished: Vec::new(),
            walsender: None,
            transaction: 1,
            committed: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    /// Whether nothing is under way that the next client could meet.
    pub fn is_at_rest(&self) -> bool {
        let is_idle = self.block == Block::None && !self.is_started && !self.is_skipping;
        is_idle && self.copy.is_none() && !self.is_streaming()
    }

    pub fn pooled(&self) -> Option<Pooled> {
        self.rules.pooled
    }

    pub fn is_copying_in(&self) -> bool {
        self.copy.is_some()
    }

    /// Whether a COPY FROM STDIN with this word is under way.
    pub fn copies(&self, word: &str) -> bool {
        self.copy.as_ref().is_some_and(|copy| copy.text.contains(word))
    }

    pub fn has_statement(&self, name: &str) -> bool {
        self.statements.contains_key(name)
    }

    /// Takes a message.
    pub fn handle(&mut self, packet: &Packet) -> Vec<Out> {
        if !self.has_ended {
            self.take(packet);
        }
        self.take_out()
    }

    pub(super) fn take_out(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    /// A cancel request takes effect while `packet` runs, which [`Session::handle`] was not given
    /// yet. `told` are the bodies of ParameterStatus that it has caused so far.
    pub fn interrupt(&mut self, packet: &Packet, told: &[Vec<u8>]) -> Vec<Out> {
        for body in told {
            let mut fields = Fields::new(body);
            if let (Some(name), Some(value)) = (fields.str(), fields.str()) {
                self.parameters.was_told(name, value);
            }
        }
        let failure = failure("57014", CANCELLED);
        let is_unnamed = packet.body.first() == Some(&0);
        let is_query = packet.kind == Front::Query as u8;
        if is_query || packet.kind == Front::Parse as u8 && is_unnamed {
            // The query had already dropped the unnamed statement.
            self.statements.remove("");
        }
        if self.copy.is_some() {
            self.fail_copy(failure);
        } else {
            let is_simple = is_query || packet.kind == Front::FunctionCall as u8;
            self.fail(failure);
            if is_simple {
                self.ready();
            } else {
                self.is_skipping = true;
            }
        }
        std::mem::take(&mut self.out)
    }

    /// A statement that [`Session::handle`] has taken no longer fits the table.
    pub fn refuse(&mut self) -> Vec<Out> {
        self.fail(failure("0A000", OUTLIVED));
        self.is_skipping = true;
        std::mem::take(&mut self.out)
    }

    fn take(&mut self, packet: &Packet) {
        let Some(kind) = Front::from_byte(packet.kind) else {
            return self.end_with("08P01", "invalid frontend message type");
        };
        if self.copy.is_some() {
            return self.take_in_copy(kind, packet);
        }
        if self.take_as_walsender(kind, packet) {
            return;
        }
        let is_extended = matches!(
            kind,
            Front::Parse | Front::Bind | Front::Describe | Front::Execute | Front::Close
        );
        match kind {
            Front::Terminate => self.has_ended = true,
            Front::Sync => self.sync(),
            // Late data of a COPY that has failed.
            Front::CopyData | Front::CopyDone | Front::CopyFail => {}
            _ if self.is_skipping => {}
            _ if is_extended => {
                if let Err(failure) = self.extended(kind, &packet.body) {
                    self.fail(failure);
                    self.is_skipping = true;
                }
            }
            Front::Flush => self.out.push(Out::Flush),
            Front::FunctionCall => self.call(&packet.body),
            Front::Query => self.query(&packet.body),
            _ => self.end_with("08P01", "invalid frontend message type"),
        }
    }

    fn query(&mut self, body: &[u8]) {
        let text = text_of(body);
        self.statements.remove("");
        self.portals.remove("");
        match sql::parse(&text) {
            None => self.fail(failure("42601", format!("syntax error in {text}"))),
            Some(list) if list.is_empty() => self.push(Back::EmptyQuery, b""),
            Some(list) if self.pooler_refuses(&list) => {
                self.fail(failure("0A000", REFUSED));
            }
            Some(list) => self.run_all(&list),
        }
        if self.copy.is_none() {
            self.ready();
        }
    }

    /// Whether a pooler refuses a text because of the state that it would leave.
    pub(super) fn pooler_refuses(&self, list: &[Statement]) -> bool {
        let policy = self.rules.pooled.map(|pooled| pooled.policy);
        let shares = self.rules.pooled.is_some_and(|pooled| pooled.shares);
        policy == Some(SessionState::Error) && traces::is_refused(list, shares)
    }

    /// Runs the statements of one message, which are one transaction.
    fn run_all(&mut self, list: &[Statement]) {
        let is_implicit = list.len() > 1 && self.block == Block::None;
        if is_implicit {
            self.parameters.begin();
        }
        for statement in list {
            if let Statement::CopyIn { text } = statement {
                match self.check_block(statement) {
                    Err(failure) => self.fail(failure),
                    Ok(()) => self.begin_copy(text, true),
                }
                return;
            }
            if let Err(failure) = self.run(statement, &[]) {
                self.fail(failure);
                break;
            }
        }
        self.end_implicit();
    }

    /// Runs one statement of a simple query.
    fn run(&mut self, statement: &Statement, values: &[Vec<u8>]) -> Result<(), Failure> {
        self.check_block(statement)?;
        if let Some(values) = self.own_rows(statement) {
            self.push(Back::RowDescription, ROW_DESCRIPTION);
            for value in &values {
                let length = (value.len() as u32).to_be_bytes();
                self.push(Back::DataRow, &[&[0, 1][..], &length, value.as_bytes()].concat());
            }
            self.complete(&format!("SELECT {}", values.len()));
            return Ok(());
        }
        if let Some(rows) = self.rows(statement, values) {
            self.sleep(statement);
            self.push(Back::RowDescription, ROW_DESCRIPTION);
            for row in &rows {
                self.push_row(row);
            }
            self.complete(&format!("SELECT {}", rows.len()));
            return Ok(());
        }
        let tag = self.perform(statement)?;
        self.complete(&tag);
        Ok(())
    }

    /// Rows of one column, in answer to queries that only the pooler sends.
    fn own_rows(&self, statement: &Statement) -> Option<Vec<String>> {
        let told = |committed| if committed { "committed" } else { "aborted" };
        Some(match statement {
            Statement::Channels => self.parameters.traces.channels().map(str::to_owned).collect(),
            Statement::Transaction => vec![self.transaction.to_string()],
            Statement::TransactionStatus { number } => {
                vec![told(self.committed.contains(number)).to_owned()]
            }
            _ => return None,
        })
    }

    /// Publishes the notifications of a transaction on commit, and drops them on rollback.
    fn end_transaction(&mut self, is_commit: bool) {
        let published = std::mem::take(&mut self.unpublished);
        if is_commit {
            self.committed.insert(self.transaction);
            self.out.extend(published);
        }
        self.transaction += 1;
    }

    pub(super) fn check_block(&self, statement: &Statement) -> Result<(), Failure> {
        let ends = matches!(statement, Statement::Commit | Statement::Rollback);
        if self.block == Block::Failed && !ends {
            return Err(failure("25P02", ABORTED));
        }
        Ok(())
    }

    pub(super) fn sleep(&mut self, statement: &Statement) {
        if let Statement::Rows { sleep_us, .. } = statement {
            self.out.push(Out::Sleep(*sleep_us));
        }
    }

    /// The rows of a statement that returns rows.
    pub(super) fn rows(&self, statement: &Statement, values: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        match statement {
            Statement::Rows { text, count, size, .. } => {
                let row = |at: usize| {
                    let mut row = format!("{text}:{at}").into_bytes();
                    values.iter().for_each(|value| row.extend([b"=", value.as_slice()].concat()));
                    row.extend(".".repeat(*size).as_bytes());
                    row
                };
                Some((0..*count).map(row).collect())
            }
            Statement::State => Some(vec![self.parameters.traces.show().into_bytes()]),
            Statement::Locks => {
                let count = usize::from(self.parameters.traces.has(traces::Kind::Lock));
                Some(vec![b"1".to_vec(); count])
            }
            Statement::Show { name } => {
                Some(vec![self.parameters.get(name).unwrap_or("?").as_bytes().to_vec()])
            }
            _ => None,
        }
    }

    /// Runs a statement that returns no rows. Returns its command tag.
    pub(super) fn perform(&mut self, statement: &Statement) -> Result<String, Failure> {
        let tag = match statement {
            Statement::Begin => {
                if self.block != Block::None {
                    self.warn("25001", "there is already a transaction in progress");
                }
                self.parameters.begin();
                self.block = Block::Open;
                "BEGIN"
            }
            Statement::Commit => self.commit(),
            Statement::Rollback => {
                if self.block == Block::None {
                    self.warn("25P01", "there is no transaction in progress");
                }
                self.end_block(false);
                "ROLLBACK"
            }
            Statement::Fail { text } => return Err(failure("22012", format!("failed: {text}"))),
            Statement::Notice { text } => {
                let notice = wire::report(Back::NoticeResponse, "NOTICE", "00000", text);
                self.push(Back::NoticeResponse, &notice.body);
                self.out.push(Out::Flush);
                "DO"
            }
            Statement::Notify { text } => {
                let body = [&[0, 0, 0, 1][..], &wire::cstr("channel"), &wire::cstr(text)].concat();
                self.push(Back::NotificationResponse, &body);
                "NOTIFY"
            }
            Statement::Publish { channel, text } => {
                let (channel, text) = (channel.clone(), text.clone());
                self.unpublished.push(Out::Publish { channel, text });
                "NOTIFY"
            }
            Statement::Unlisten { channel } => {
                self.parameters.traces.remove_channel(channel);
                "UNLISTEN"
            }
            Statement::Leave { kind: traces::Kind::Channel, .. } if self.walsender.is_some() => {
                return Err(walsender::refuses_listen());
            }
            Statement::Leave { kind, name } => {
                self.parameters.traces.add(*kind, name);
                if *kind == traces::Kind::Lock {
                    self.push(Back::RowDescription, ROW_DESCRIPTION);
                    self.push_row(b"");
                }
                traces::tag(*kind)
            }
            Statement::Clear { kinds, tag } => {
                self.parameters.traces.clear(kinds);
                if tag.starts_with("SELECT") {
                    self.push(Back::RowDescription, ROW_DESCRIPTION);
                    self.push_row(b"");
                }
                tag
            }
            Statement::Set { name, value, is_function } => {
                let done = self.parameters.set(name, value);
                done.map_err(|_| failure("22023", format!("invalid value for {name}: {value}")))?;
                self.report_now();
                if *is_function {
                    self.push(Back::RowDescription, ROW_DESCRIPTION);
                    self.push_row(value.as_bytes());
                    "SELECT 1"
                } else {
                    "SET"
                }
            }
            Statement::Reset { name } if name == "ALL" => {
                self.parameters.reset_all();
                self.report_now();
                "RESET"
            }
            Statement::Reset { name } => {
                let done = self.parameters.reset(name);
                done.map_err(|_| failure("42704", format!("unrecognized parameter {name}")))?;
                self.report_now();
                "RESET"
            }
            Statement::DiscardAll => {
                if self.block != Block::None {
                    return Err(failure("25001", "DISCARD ALL cannot run inside a transaction"));
                }
                self.statements.clear();
                self.portals.clear();
                self.parameters.reset_all();
                self.parameters.traces.clear_all();
                self.report_now();
                "DISCARD ALL"
            }
            Statement::DeallocateAll => {
                self.statements.clear();
                self.parameters.traces.clear(&[traces::Kind::Prepared]);
                "DEALLOCATE ALL"
            }
            Statement::Deallocate { name } => {
                if self.statements.remove(name).is_none() {
                    let text = format!("prepared statement \"{name}\" does not exist");
                    return Err(failure("26000", text));
                }
                "DEALLOCATE"
            }
            Statement::CopyOut { count, size, text } => {
                self.copy_out(text, *count, *size);
                return Ok(format!("COPY {count}"));
            }
            Statement::Channels
            | Statement::CopyIn { .. }
            | Statement::Locks
            | Statement::Lookup(_)
            | Statement::Rows { .. }
            | Statement::Show { .. }
            | Statement::State
            | Statement::Transaction
            | Statement::TransactionStatus { .. } => {
                return Err(failure("XX000", "not a command"));
            }
        };
        Ok(tag.to_owned())
    }

    fn commit(&mut self) -> &'static str {
        match self.block {
            Block::Failed => {
                self.end_block(false);
                "ROLLBACK"
            }
            Block::Open => {
                self.end_block(true);
                "COMMIT"
            }
            Block::None => {
                self.warn("25P01", "there is no transaction in progress");
                self.end_block(true);
                "COMMIT"
            }
        }
    }

    fn end_block(&mut self, is_commit: bool) {
        if is_commit {
            self.parameters.commit();
        } else {
            self.parameters.rollback();
        }
        self.end_transaction(is_commit);
        self.block = Block::None;
        self.is_started = false;
        self.holds_table = false;
        self.portals.clear();
        self.report_now();
    }

    pub(super) fn begin_copy(&mut self, text: &str, is_simple: bool) {
        self.copy = Some(CopyIn { text: text.to_owned(), bytes: 0, is_simple });
        self.push(Back::CopyIn, COPY_FORMAT);
        self.out.push(Out::Flush);
    }

    pub(super) fn copy_out(&mut self, text: &str, count: usize, size: usize) {
        self.push(Back::CopyOut, COPY_FORMAT);
        for at in 0..count {
            let mut row = format!("{text}:{at}").into_bytes();
            row.extend(".".repeat(size).as_bytes());
            self.push(Back::CopyData, &row);
            if at == count / 2 {
                // The statement can be cancelled while it runs.
                self.out.push(Out::Sleep(0));
            }
        }
        self.push(Back::CopyDone, b"");
    }

    fn take_in_copy(&mut self, kind: Front, packet: &Packet) {
        let Some(copy) = &mut self.copy else { return };
        match kind {
            Front::CopyData => copy.bytes += packet.body.len(),
            Front::Flush | Front::Sync => {}
            Front::CopyDone => {
                let (tag, is_simple) = (format!("COPY {}", copy.bytes), copy.is_simple);
                self.copy = None;
                self.complete(&tag);
                if is_simple {
                    self.end_implicit();
                    self.ready();
                }
            }
            Front::CopyFail => {
                let text =
                    format!("COPY from stdin failed: {} in {}", text_of(&packet.body), copy.text);
                self.fail_copy(failure("57014", text));
            }
            _ => {
                let text = format!("unexpected message type {kind:?} during COPY from stdin");
                self.fail_copy_state(failure("08P01", text));
                self.end_with("08P01", SYNC_LOST);
            }
        }
    }

    fn fail_copy(&mut self, failure: Failure) {
        if self.fail_copy_state(failure) {
            self.ready();
        } else {
            self.is_skipping = true;
        }
    }

    /// Returns whether it was a simple query.
    fn fail_copy_state(&mut self, failure: Failure) -> bool {
        let is_simple = self.copy.take().is_some_and(|copy| copy.is_simple);
        self.fail(failure);
        is_simple
    }

    fn call(&mut self, body: &[u8]) {
        let text = text_of(&body[4.min(body.len())..]);
        let result = match self.block {
            Block::Failed => Err(failure("25P02", ABORTED)),
            _ if text.starts_with("FAIL") => Err(failure("22012", format!("failed: {text}"))),
            _ => Ok(()),
        };
        match result {
            Ok(()) => {
                let length = (text.len() as u32).to_be_bytes();
                self.push(Back::FunctionCallResponse, &[&length[..], text.as_bytes()].concat());
            }
            Err(failure) => self.fail(failure),
        }
        self.ready();
    }

    fn sync(&mut self) {
        self.is_skipping = false;
        self.end_implicit();
        self.ready();
    }

    fn end_implicit(&mut self) {
        if self.block == Block::None {
            self.parameters.commit();
            self.portals.clear();
            self.end_transaction(true);
        }
        self.is_started = false;
        self.holds_table = false;
    }

    /// Raises an error, which ends the running query and undoes its changes.
    pub(super) fn fail(&mut self, failure: Failure) {
        let report = wire::report(Back::ErrorResponse, "ERROR", failure.sqlstate, &failure.text);
        self.push(Back::ErrorResponse, &report.body);
        self.out.push(Out::Flush);
        self.parameters.rollback();
        self.unpublished.clear();
        if self.block == Block::None {
            self.end_transaction(false);
        }
        if self.block == Block::Open {
            self.block = Block::Failed;
        }
        self.is_started = false;
        self.holds_table = false;
        self.portals.clear();
        self.report_now();
    }

    pub(super) fn end_with(&mut self, sqlstate: &'static str, text: &str) {
        let report = wire::report(Back::ErrorResponse, "FATAL", sqlstate, text);
        self.push(Back::ErrorResponse, &report.body);
        self.out.push(Out::Flush);
        self.out.push(Out::End);
        self.has_ended = true;
    }

    pub(super) fn ready(&mut self) {
        self.report_changes();
        let status = match self.block {
            Block::None => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        };
        let refuses = self.rules.pooled.is_some_and(|pooled| pooled.is_statement_mode);
        if refuses && status != b'I' {
            return self.pooler_ends("transaction blocks not allowed in statement pooling mode");
        }
        self.push(Back::ReadyForQuery, &[status]);
        self.out.push(Out::Flush);
    }

    pub(super) fn pooler_ends(&mut self, words: &'static str) {
        self.out.push(Out::Fatal(words));
        self.has_ended = true;
    }

    fn warn(&mut self, sqlstate: &str, text: &str) {
        let report = wire::report(Back::NoticeResponse, "WARNING", sqlstate, text);
        self.push(Back::NoticeResponse, &report.body);
        self.out.push(Out::Flush);
    }

    fn report_now(&mut self) {
        if !self.rules.late_reports {
            self.report_changes();
        }
    }

    fn report_changes(&mut self) {
        for (name, value) in self.parameters.changes() {
            let body = [wire::cstr(name), wire::cstr(&value)].concat();
            self.push(Back::ParameterStatus, &body);
        }
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.push(Back::CommandComplete, &wire::cstr(tag));
    }

    /// Appends a row of two columns: the number of the session, and the answer.
    pub(super) fn push_row(&mut self, payload: &[u8]) {
        let mut body = vec![0, 2, 0, 0, 0, 8];
        body.extend(format!("s{:07}", self.number).bytes());
        body.extend((payload.len() as u32).to_be_bytes());
        body.extend(payload);
        self.push(Back::DataRow, &body);
    }

    pub(super) fn push(&mut self, kind: Back, body: &[u8]) {
        let is_sticky = self.block != Block::None || self.is_started;
        self.out.push(Out::Packet { packet: wire::back(kind, body), is_sticky });
    }

    pub(super) fn push_out(&mut self, out: Out) {
        self.out.push(out);
    }
}

/// The place of the session's number in the body of a row.
pub const SESSION_IN_ROW: std::ops::Range<usize> = 7..14;

/// PostgreSQL's error for a statement whose table has changed.
pub const OUTLIVED: &str = "cached plan must not change result type";

/// The pooler's error for a statement that would leave session state.
pub const REFUSED: &str = "statement leaves state in a session that clients share";

/// How PostgreSQL ends a session that was sent something else in the middle of a COPY.
pub const SYNC_LOST: &str = "terminating connection: protocol synchronization was lost";

/// PostgreSQL's error for a cancelled query, and the pooler's for one that never ran.
pub const CANCELLED: &str = "canceling statement due to user request";

pub const ABORTED: &str =
    "current transaction is aborted, commands ignored until end of transaction block";

/// Two columns of type text.
pub const ROW_DESCRIPTION: &[u8] =
    b"\0\x02session\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0\
    payload\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";

/// Text format, one column.
const COPY_FORMAT: &[u8] = b"\0\0\x01\0\0";

pub(super) fn text_of(body: &[u8]) -> String {
    let end = body.iter().position(|&b| b == 0).unwrap_or(body.len());
    String::from_utf8_lossy(&body[..end]).into_owned()
}
