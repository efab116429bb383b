//! What one client must see: the messages that a client sends also go to a PostgreSQL session of
//! its own, and each message that the client gets is compared with the answer of that session.
//!
//! The session cannot predict unsolicited notices, the moment at which a cancel request takes
//! effect, and changes of the table. These differences are allowed, and no others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::parameters::{VARYING, varying};
use super::session::{
    Block, CANCELLED, OUTLIVED, Out, REFUSED, SESSION_IN_ROW, SYNC_LOST, Session,
};
use super::sql;
use super::traces;
use super::walsender;
use super::wire::Packet;
use crate::wire::fields::Fields;
use crate::wire::fields::ReportFields;
use crate::wire::kind::Back;

/// An expected answer.
pub(super) struct Due {
    pub packet: Packet,
    is_sticky: bool,
}

/// Refusals of one text because its table has changed.
#[derive(Default)]
pub struct Outlived {
    /// Counts a refusal only if its message was sent after the client knew of the one before.
    pub count: u32,
    /// How many messages the client had sent when the last refusal came.
    known_at: usize,
}

pub struct Shadow {
    pub(super) session: Session,
    /// Messages of the client that the session has not taken yet.
    pub(super) inputs: VecDeque<Packet>,
    pub(super) due: VecDeque<Due>,
    /// The session before it took `current`.
    pub(super) before: Session,
    pub(super) current: Option<Packet>,
    /// ParameterStatus that came since.
    told: Vec<Vec<u8>>,
    /// The FATAL error with which the pooler ends the client here.
    fatal: Option<&'static str>,
    /// Cancel requests with this client's key that have had no effect yet.
    pub cancels: u32,
    /// The server that runs the client's transaction.
    linked: Option<Vec<u8>>,
    /// Whether one server serves the whole session.
    is_session_mode: bool,
    /// Whether the session can no longer be predicted. Then only the owner of each answer is
    /// checked.
    is_blind: bool,
    client: usize,
    /// Refusals that the client was told of because a table has changed, by the text of the
    /// statement.
    pub outlived: BTreeMap<String, Outlived>,
    /// The number of all such refusals.
    pub refusals: u32,
    /// The number of messages that the client has sent.
    sent: usize,
    /// The value of [`VARYING`] that the client was told last.
    pub varying: String,
    /// How often the pooler decided on a Parse in a failed transaction, see `tolerates`.
    pub tolerated: u32,
    /// Whether the answer to a query, or a transaction, has begun and not ended.
    is_amid: bool,
    /// The channels of the client at the end of its last transaction.
    listened: BTreeSet<String>,
    /// Whether the client was told that its channels could not be changed.
    pub is_vague: bool,
    /// The number of notifications that the client got.
    pub notified: usize,
    /// The number of messages that it got in streams.
    pub streamed: usize,
}

impl Shadow {
    pub fn new(client: usize, session: Session, is_session_mode: bool) -> Shadow {
        Shadow {
            is_blind: false,
            client,
            before: session.clone(),
            session,
            inputs: VecDeque::new(),
            due: VecDeque::new(),
            current: None,
            told: Vec::new(),
            fatal: None,
            cancels: 0,
            linked: None,
            is_session_mode,
            outlived: BTreeMap::new(),
            refusals: 0,
            sent: 0,
            varying: String::new(),
            tolerated: 0,
            is_amid: false,
            listened: BTreeSet::new(),
            is_vague: false,
            notified: 0,
            streamed: 0,
        }
    }

    /// The client sends a message.
    pub fn sent(&mut self, packet: Packet) {
        self.sent += 1;
        self.inputs.push_back(packet);
    }

    /// Whether everything that was sent has been answered.
    pub fn is_answered(&mut self) -> bool {
        self.fill();
        // Parameters that an error restores may be reported after the flush that the error causes.
        let only_reports =
            self.due.iter().all(|due| due.packet.kind == Back::ParameterStatus as u8);
        let is_skipped = only_reports
            && self.session.is_skipping
            && self.inputs.iter().all(|packet| packet.kind != b'S');
        let is_answered = self.due.is_empty() && self.inputs.is_empty() && self.fatal.is_none();
        self.is_blind || is_answered || is_skipped
    }

    /// The approximate number of unanswered messages.
    pub fn backlog(&mut self) -> usize {
        self.fill();
        self.inputs.len() + self.due.len()
    }

    /// The session as far as it is predicted: one message ahead of what the client has seen.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the pooler may end the client with these words: the session ends with them once it
    /// has taken all messages. Where a session cannot be predicted, nor can be what it takes for
    /// data of a COPY.
    pub fn foresees(&mut self, words: &str) -> bool {
        if self.is_blind && words == SYNC_LOST {
            return true;
        }
        let mut session = self.session.clone();
        let rest = self.inputs.iter().flat_map(|packet| session.handle(packet));
        self.fatal.is_some_and(|fatal| fatal == words)
            || rest.into_iter().any(|out| matches!(out, Out::Fatal(fatal) if fatal == words))
    }

    /// Whether the session ends itself.
    pub fn foresees_end(&self) -> bool {
        let mut session = self.session.clone();
        self.inputs.iter().for_each(|packet| drop(session.handle(packet)));
        session.has_ended
    }

    /// Whether the session predicts this message next.
    pub fn is_due(&mut self, packet: &Packet) -> bool {
        self.fill();
        self.due.front().is_some_and(|due| is_same(&due.packet, packet))
    }

    /// The state of the shadow, for the report of a failure.
    pub fn describe(&self) -> String {
        let due = self.due.front().map(|due| &due.packet);
        let Shadow { current, inputs, fatal, .. } = self;
        format!("due {due:?} after {current:?}, {} more sent, fatal {fatal:?}", inputs.len())
    }

    /// Checks a message that the client got. FATAL errors are checked elsewhere.
    pub fn received(&mut self, packet: &Packet) -> Result<(), String> {
        if is_unasked(packet) {
            return Ok(());
        }
        if let Some(value) = told_of_varying(packet) {
            return self.varies(value);
        }
        if self.is_blind {
            // A notification carries the tags of its sender.
            return match published(packet) {
                Some(channel) => self.check_listens(&channel, packet),
                None => self.check_owner(packet),
            };
        }
        self.fill();
        if let Some(result) = self.take_streamed(packet) {
            return result;
        }
        if let Some(channel) = published(packet) {
            return self.is_notified(&channel, packet);
        }
        if self.is_not_listening(packet) {
            return Ok(());
        }
        let is_end = packet.kind == Back::ReadyForQuery as u8 && packet.body == b"I";
        // The pooler may have given these itself, before the client got a server.
        let is_own =
            packet.kind == Back::ParseComplete as u8 || packet.kind == Back::CloseComplete as u8;
        self.is_amid = !is_end && (self.is_amid || !is_own);
        if is_end {
            let channels = self.session.parameters.traces.channels();
            self.listened = channels.map(str::to_owned).collect();
        }
        let is_due = |due: &Due| is_same(&due.packet, packet) || self.shows_varying(due, packet);
        if self.due.front().is_some_and(is_due) {
            let Some(due) = self.due.pop_front() else { return Ok(()) };
            if packet.kind == Back::ParameterStatus as u8 {
                self.told.push(packet.body.clone());
            }
            return self.check_link(packet, due.is_sticky);
        }
        if self.is_shown_by(packet) || self.is_unpinned_by(packet) || self.breaks_copy(packet) {
            return Ok(());
        }
        if self.is_cancelled_by(packet) || self.is_outlived_by(packet) || self.tolerates(packet) {
            return Ok(());
        }
        if self.is_cancelled_before(packet) {
            return Ok(());
        }
        let due = self.due.front().map(|due| &due.packet);
        Err(format!("{due:?} is due in answer to {:?}, {packet:?} came", self.current))
    }

    /// Checks a notification: it must come between transactions, and the client must listen.
    fn is_notified(&mut self, channel: &str, packet: &Packet) -> Result<(), String> {
        let is_end = |due: &Due| due.packet.kind == b'Z' && due.packet.body == b"I";
        if self.is_amid && !self.due.front().is_some_and(is_end) {
            return Err(format!("{packet:?} came in the middle of {:?}", self.current));
        }
        self.check_listens(channel, packet)
    }

    fn check_listens(&mut self, channel: &str, packet: &Packet) -> Result<(), String> {
        let traces = &self.session.parameters.traces;
        let listens = self.listened.contains(channel) || traces.channels().any(|c| c == channel);
        if !listens && !self.is_vague {
            return Err(format!("{packet:?} is for others: {}", traces.show()));
        }
        self.notified += 1;
        Ok(())
    }

    /// Allows an error of `shared_listen` before the end of the transaction: the shared connection
    /// was not available, or an UNLISTEN could not take effect.
    fn is_not_listening(&mut self, packet: &Packet) -> bool {
        let is_told = packet.kind == Back::ErrorResponse as u8
            && packet.report().message.contains("(shared_listen)");
        self.is_vague |= is_told;
        is_told
    }

    /// Allows an error for another message than predicted: a message of the client breaks a COPY,
    /// and the server may meet a Close of the pooler first.
    fn breaks_copy(&mut self, packet: &Packet) -> bool {
        let is_of_copy = |packet: &Packet| {
            let report = ReportFields::parse(&packet.body);
            packet.kind == Back::ErrorResponse as u8
                && report.message.starts_with("unexpected message type ")
                && report.message.ends_with(" during COPY from stdin")
        };
        let is_so = is_of_copy(packet) && self.due.front().is_some_and(|d| is_of_copy(&d.packet));
        if is_so {
            self.due.pop_front();
        }
        is_so
    }

    /// Allows that the session of the client's server has less state than one of its own would
    /// have.
    fn is_shown_by(&mut self, packet: &Packet) -> bool {
        let Some(pooled) = self.session.pooled() else { return false };
        let Some(due) = self.due.front() else { return false };
        let (Some(own), Some(shown)) = (shown_state(&due.packet), shown_state(packet)) else {
            return false;
        };
        let may_be = traces::may_be_shown(pooled.policy, pooled.shares, &own, &shown);
        if may_be {
            self.due.pop_front();
        }
        may_be
    }

    /// Allows an error of `pin_limit`: too many servers are pinned, so the client's state is undone
    /// at the end of its transaction.
    fn is_unpinned_by(&mut self, packet: &Packet) -> bool {
        let is_told = packet.kind == Back::ErrorResponse as u8
            && packet.report().message.contains("(pin_limit)");
        let is_ready = |due: &Due| due.packet.kind == b'Z' && due.packet.body == b"I";
        if !is_told || !self.due.front().is_some_and(is_ready) {
            return false;
        }
        match self.session.pooled().is_some_and(|pooled| pooled.shares) {
            true => self.session.parameters.traces.keep_channels(),
            false => self.session.parameters.traces.clear_all(),
        }
        true
    }

    /// The client gets a server whose default differs from the last one.
    fn varies(&mut self, value: String) -> Result<(), String> {
        if value <= self.varying {
            return Err(format!("{value} is told of {VARYING} after {}", self.varying));
        }
        self.varying = value;
        Ok(())
    }

    /// Whether a row shows the varying default as it was told last.
    fn shows_varying(&self, due: &Due, packet: &Packet) -> bool {
        let is_shown = due.packet.body.ends_with(varying(0).as_bytes());
        is_shown
            && due.packet.kind == packet.kind
            && due.packet.body.len() == packet.body.len()
            && packet.body.ends_with(self.varying.as_bytes())
    }

    pub(super) fn fill(&mut self) {
        while self.due.is_empty() && self.fatal.is_none() {
            let Some(packet) = self.inputs.pop_front() else { return };
            self.before = self.session.clone();
            self.told.clear();
            let outs = self.session.handle(&packet);
            self.current = Some(packet);
            self.expect(outs);
        }
    }

    pub(super) fn expect(&mut self, outs: Vec<Out>) {
        for out in outs {
            match out {
                Out::Packet { packet, is_sticky } => self.due.push_back(Due { packet, is_sticky }),
                Out::Fatal(words) => self.fatal = Some(words),
                Out::Publish { .. } | Out::Sleep(_) | Out::Flush | Out::End => {}
            }
        }
    }

    /// Allows that a cancel request has taken effect here, rather than earlier or later.
    fn is_cancelled_by(&mut self, packet: &Packet) -> bool {
        let report = packet.report();
        let is_cancel = packet.kind == Back::ErrorResponse as u8
            && report.sqlstate == "57014"
            && report.message == CANCELLED;
        let Some(current) = self.current.clone() else { return false };
        if !is_cancel || self.cancels == 0 {
            return false;
        }
        self.cancels -= 1;
        self.is_blind = self.session.copies("mixed") || self.before.copies("mixed");
        if !self.session.is_copying_in() {
            self.session = self.before.clone();
        }
        self.due.clear();
        self.fatal = None;
        let told = std::mem::take(&mut self.told);
        let outs = self.session.interrupt(&current, &told);
        self.before = self.session.clone();
        self.expect(outs);
        self.due.pop_front();
        true
    }

    /// Allows that a late cancel request has struck what the pooler put before the message, which
    /// gives the session its channels back. So the message finds a failed transaction.
    fn is_cancelled_before(&mut self, packet: &Packet) -> bool {
        let shares = self.session.rules.pooled.is_some_and(|pooled| pooled.shares);
        let aborted = packet.report().sqlstate == "25P02";
        let Some(current) = self.current.clone() else { return false };
        if !shares || !aborted || self.cancels == 0 || self.before.block != Block::Open {
            return false;
        }
        self.cancels -= 1;
        self.before.block = Block::Failed;
        self.session = self.before.clone();
        self.due.clear();
        self.fatal = None;
        let outs = self.session.handle(&current);
        self.expect(outs);
        self.due.pop_front().is_some_and(|due| is_same(&due.packet, packet))
    }

    /// Allows the refusal of a statement whose table has changed. It does not always come, because
    /// the pooler sends the query again where it can; and it comes once for each change at most.
    fn is_outlived_by(&mut self, packet: &Packet) -> bool {
        let report = packet.report();
        let is_refusal = packet.kind == Back::ErrorResponse as u8 && report.message == OUTLIVED;
        let Some(name) = self.current.as_ref().and_then(used_by) else { return false };
        let text = self.before.text_of_statement(&name).unwrap_or_default();
        if !is_refusal || !sql::reads_table(&text) {
            return false;
        }
        let number = self.sent - self.inputs.len();
        let outlived = self.outlived.entry(text).or_default();
        if outlived.count == 0 || number > outlived.known_at {
            outlived.count += 1;
        }
        outlived.known_at = self.sent;
        self.refusals += 1;
        self.session = self.before.clone();
        self.due.clear();
        self.fatal = None;
        let outs = self.session.refuse();
        self.before = self.session.clone();
        self.expect(outs);
        self.due.pop_front();
        true
    }

    /// Allows the pooler's decisions on a Parse in a failed transaction, in which PostgreSQL
    /// refuses every Parse. The pooler answers one whose statement the server has, and passes on
    /// one that it would answer elsewhere. Later messages of the transaction are refused all the
    /// same, but not always with the same words: the pooler may put a Parse of its own before a
    /// Bind or Describe.
    fn tolerates(&mut self, packet: &Packet) -> bool {
        let Some(current) = self.current.clone() else { return false };
        let Some(due) = self.due.front().map(|due| due.packet.clone()) else { return false };
        if self.before.block != Block::Failed {
            return false;
        }
        let aborted = packet.report().sqlstate == "25P02";
        if matches!(current.kind, b'B' | b'D') && due.kind == packet.kind && aborted {
            self.due.pop_front();
            return true;
        }
        if current.kind != b'P' {
            return false;
        }
        let complete = Back::ParseComplete as u8;
        let (is_due, has_come) = (due.report().sqlstate == "25P02", packet.kind == complete);
        let is_accepted = is_due && has_come;
        let is_refused = due.kind == complete && packet.report().sqlstate == "25P02";
        if !is_accepted && !is_refused {
            return false;
        }
        self.session = self.before.clone();
        self.session.parse_decided(&current.body, is_accepted);
        self.due.clear();
        self.tolerated += 1;
        true
    }

    /// Checks that a message has no tag of another client.
    fn check_owner(&self, packet: &Packet) -> Result<(), String> {
        let text = String::from_utf8_lossy(&packet.body);
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let own = format!("c{}q", self.client);
        let foreign = words.find(|word| {
            let digits = word.strip_prefix('c').unwrap_or_default();
            let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            rest.len() < digits.len() && rest.starts_with('q') && !word.starts_with(&own)
        });
        foreign.map_or(Ok(()), |word| Err(format!("{word} is not for client {}", self.client)))
    }

    /// Whether the session can no longer be predicted.
    pub fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Checks that a transaction stays on its server.
    fn check_link(&mut self, packet: &Packet, is_sticky: bool) -> Result<(), String> {
        if packet.kind == Back::ReadyForQuery as u8 && packet.body == b"I" && !self.is_session_mode
        {
            self.linked = None;
        }
        if packet.kind != Back::DataRow as u8 {
            return Ok(());
        }
        let session = packet.body.get(SESSION_IN_ROW).unwrap_or_default().to_vec();
        if walsender::is_number(&session) != self.session.walsender.is_some() {
            return Err(format!("{packet:?} is of a session of another kind"));
        }
        let linked = self.linked.replace(session.clone());
        if let Some(linked) = linked.filter(|linked| *linked != session)
            && (is_sticky || self.is_session_mode)
        {
            return Err(format!("the transaction was on {linked:?}, {session:?} answers"));
        }
        Ok(())
    }
}

/// The named statement that a message uses.
fn used_by(packet: &Packet) -> Option<String> {
    let mut fields = Fields::new(&packet.body);
    let name = match packet.kind {
        b'B' => fields.cstr().and_then(|_| fields.str()),
        b'D' if fields.u8() == Some(b'S') => fields.str(),
        _ => None,
    };
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

fn is_same(due: &Packet, got: &Packet) -> bool {
    if due.kind == Back::ErrorResponse as u8 && due.report().message == REFUSED {
        // The pooler's error says more than that.
        return got.kind == due.kind && got.report().message == REFUSED;
    }
    if due.kind != got.kind || due.body.len() != got.body.len() {
        return false;
    }
    if due.kind == Back::NotificationResponse as u8 {
        // The process id at the beginning is not compared: if the notification is the client's own,
        // it is the one that the client was told.
        return due.body.get(4..) == got.body.get(4..);
    }
    if due.kind != Back::DataRow as u8 || due.body.len() < SESSION_IN_ROW.end {
        return due.body == got.body;
    }
    due.body[..SESSION_IN_ROW.start] == got.body[..SESSION_IN_ROW.start]
        && due.body[SESSION_IN_ROW.end..] == got.body[SESSION_IN_ROW.end..]
}

/// The session state that a row shows.
fn shown_state(packet: &Packet) -> Option<String> {
    let text = packet.body.get(SESSION_IN_ROW.end + 4..).filter(|_| packet.kind == b'D')?;
    let text = String::from_utf8_lossy(text).into_owned();
    text.starts_with(traces::STATE).then_some(text)
}

fn told_of_varying(packet: &Packet) -> Option<String> {
    let mut fields = Fields::new(&packet.body);
    let is_it = packet.kind == b'S' && fields.str() == Some(VARYING);
    fields.str().filter(|_| is_it).map(str::to_owned)
}

/// The channel of a notification that a client has published.
fn published(packet: &Packet) -> Option<String> {
    let text = packet.body.get(4..).filter(|_| packet.kind == b'A')?;
    let name = text.split(|byte| *byte == 0).next()?;
    name.starts_with(b"pub").then(|| String::from_utf8_lossy(name).into_owned())
}

fn is_unasked(packet: &Packet) -> bool {
    let told = |text: &[u8]| packet.body.windows(text.len()).any(|window| window == text);
    match packet.kind {
        b'A' => told(b"ASYNC"),
        b'N' => told(b"MASYNC\0") || told(b"client being queued"),
        b'S' => packet.body.starts_with(b"in_hot_standby\0"),
        _ => false,
    }
}
