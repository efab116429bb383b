//! What a replication client must see within a stream. When its walsender sends what, and where an
//! error or a cancel request ends the stream, cannot be predicted; all else can.

use super::session::{CANCELLED, Out, Session};
use super::shadow::Shadow;
use super::wire::Packet;
use crate::wire::kind::Back;

impl Shadow {
    /// Whether the client has seen so many messages of the open stream, or no more will come.
    pub fn has_streamed(&mut self, count: usize) -> bool {
        self.fill();
        self.is_blind() || self.session.streamed().is_none_or(|sent| sent >= count)
    }

    /// Takes a message of a stream that was not predicted. `None` if it is no such message.
    pub(super) fn take_streamed(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        self.session.walsender.as_ref()?;
        match Back::from_byte(packet.kind)? {
            Back::CopyData => self.take_data(packet),
            Back::CopyDone => self.ends_of_itself(packet),
            Back::CommandComplete => self.take_tag(packet),
            Back::ErrorResponse => self.breaks_stream(packet),
            _ => None,
        }
    }

    /// Whether the end of the connection is due: the client has broken the rules of a stream.
    fn is_fatal_due(&self) -> bool {
        self.due.front().is_some_and(|due| due.packet.is_fatal())
    }

    fn take_data(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        let due = self.due.front().map(|due| due.packet.kind);
        let is_at_end = matches!(due, Some(b'c' | b'C'));
        let may_come = due.is_none() && self.session.is_streaming();
        if !may_come && !is_at_end && !self.is_fatal_due() {
            return None;
        }
        if !self.session.is_next_streamed(&packet.body) {
            return Some(Err(format!("{packet:?} is not what comes next of the stream")));
        }
        self.session.count_streamed();
        if self.before.is_streaming() {
            self.before.count_streamed();
        }
        self.streamed += 1;
        Some(Ok(()))
    }

    /// The walsender ends its half of the stream of itself.
    fn ends_of_itself(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        if !self.due.is_empty() && !self.is_fatal_due() {
            return None;
        }
        let outs = self.open_stream()?.stream_on();
        let is_expected = matches!(&outs[..], [Out::Packet { packet: expected, .. }, Out::Flush]
            if expected == packet);
        if !is_expected {
            return Some(Err(format!("{packet:?} came within a stream, {outs:?} was next")));
        }
        for session in [&mut self.session, &mut self.before] {
            if session.is_streaming() {
                session.stream_on();
            }
        }
        Some(Ok(()))
    }

    /// The tag at the end of a stream tells how much there was of it.
    fn take_tag(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        if self.due.front().is_none_or(|due| due.packet.kind != packet.kind) {
            return self.shuts_down(packet);
        }
        let tag = self.session.take_stream_tag()?;
        self.due.pop_front();
        let is_it = text(packet) == tag;
        Some(if is_it { Ok(()) } else { Err(format!("{packet:?} ends a stream, not {tag}")) })
    }

    /// The tag comes before the client has ended the stream: the walsender is about to go.
    fn shuts_down(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        let mut session = self.open_stream()?;
        let outs = session.shut_down_stream();
        let is_expected =
            matches!(outs.first(), Some(Out::Packet { packet: due, .. }) if due == packet);
        if !is_expected {
            return Some(Err(format!("{packet:?} came within a stream, {outs:?} was next")));
        }
        self.session = session;
        self.inputs.clear();
        self.due.clear();
        Some(Ok(()))
    }

    /// An error ends the stream. Messages that the client has sent meanwhile are taken after it.
    fn breaks_stream(&mut self, packet: &Packet) -> Option<Result<(), String>> {
        let report = packet.report();
        if report.severity != "ERROR" {
            return None;
        }
        let mut session = self.open_stream()?;
        let is_cancel = report.message.starts_with(CANCELLED) && self.cancels > 0;
        let outs = if is_cancel { session.cancel_stream() } else { session.stream_on() };
        let is_expected =
            matches!(outs.first(), Some(Out::Packet { packet: due, .. }) if due == packet);
        if !is_expected {
            return Some(Err(format!("{packet:?} came within a stream, {outs:?} was next")));
        }
        self.cancels -= u32::from(is_cancel);
        self.session = session;
        self.due.clear();
        let again = self.current.take().filter(|current| !text(current).starts_with("START_REPL"));
        again.into_iter().for_each(|packet| self.inputs.push_front(packet));
        self.before = self.session.clone();
        self.expect(outs);
        self.due.pop_front();
        Some(Ok(()))
    }

    /// The session with the stream that was open when the client's last message came, if any.
    fn open_stream(&self) -> Option<Session> {
        [&self.session, &self.before].into_iter().find(|session| session.is_streaming()).cloned()
    }
}

fn text(packet: &Packet) -> String {
    super::session::text_of(&packet.body)
}
