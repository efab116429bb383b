//! What a client leaves behind when it goes in the middle of something, with
//! `server_abandon = rollback`: what is open is ended, what runs is cancelled, the transaction
//! rolled back, the session reset, in every pool mode, and the server goes back to its pool; all
//! within `server_abandon_timeout`, else it is closed.
//!
//! Source: PostgreSQL manual, "COPY Operations": CopyFail ends a COPY with an error, whatever data
//! came before it.

use crate::config::ServerAbandon;
use crate::pool::core::{Action, Core};
use crate::pool::ids::ServerId;
use crate::pool::records::server::{OwnQuery, Rescue, Server, ServerState, Test};
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Message};
use crate::wire::kind::Front;

/// The longest rest of a half sent piece of COPY data that is filled up, in bytes.
const MOST_FILLED_BYTES: u32 = 64 * 1024;

impl Core {
    /// Whether a server that its client has left in the middle can be brought to an end.
    pub(in crate::pool) fn may_rescue(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        self.settings().server_abandon == ServerAbandon::Rollback
            && !server.is_private
            && server.closing.is_none()
            && server.replies.can_be_brought_to_an_end()
            && server.can_be_filled_up()
    }

    /// Begins to bring what a client has left behind to an end.
    pub(in crate::pool) fn rescue(&mut self, id: ServerId) {
        let rescue = Rescue::Ending { owed: usize::MAX };
        self.move_server(id, ServerState::Tested(Test::Abandoned(rescue)));
        self.servers[id].own = OwnQuery::Nothing;
        self.servers[id].is_abandoned = true;
        self.end_requests(id);
        // The server may not have been read while its client did not take its answers.
        self.act(Action::RunServer(id));
        self.cancel_abandoned(id);
        self.act(Action::PartIfDrained(id));
    }

    /// Sends what nobody else will send any more: the end of a COPY, and Flush after an extended
    /// query, so that all its answers come. Its Sync would commit what it has done.
    pub(in crate::pool) fn end_requests(&mut self, id: ServerId) {
        let server = &mut self.servers[id];
        // CopyFail throws the whole COPY away, so that it does not matter what its data is.
        let mut bytes = vec![0; std::mem::take(&mut server.half_sent) as usize];
        if server.replies.end_copy_in() {
            Message::front(&mut bytes, Front::CopyFail).cstr("the client has gone").end();
        }
        if server.replies.is_unsynced() {
            build::empty_front(&mut bytes, Front::Flush);
        }
        if !bytes.is_empty() {
            self.act(Action::SendServer { server: id, bytes });
        }
    }

    /// Cancels what runs, and again when that has brought the server to the next query of a
    /// pipeline.
    pub(in crate::pool) fn cancel_abandoned(&mut self, id: ServerId) {
        let server = &mut self.servers[id];
        let still_owed = server.replies.len();
        let may_cancel = server.canceled_by.is_none() && !server.key.is_empty();
        if let Some(Rescue::Ending { owed }) = server.rescue_mut()
            && (1..*owed).contains(&still_owed)
            && may_cancel
        {
            *owed = still_owed;
            self.open_carrier(id, None);
        }
    }

    /// Cancels anew although nothing was answered: the request may have come before the query did.
    pub(in crate::pool) fn cancel_abandoned_again(&mut self, id: ServerId) {
        if let Some(Rescue::Ending { owed }) = self.servers[id].rescue_mut() {
            *owed = usize::MAX;
            self.cancel_abandoned(id);
        }
    }

    /// Goes on with an abandoned server, if all that was asked of it has been answered.
    pub(in crate::pool) fn abandoned_settled(&mut self, id: ServerId, rescue: Rescue) {
        let server = &self.servers[id];
        if !server.replies.is_answered() {
            return self.cancel_abandoned(id);
        }
        if server.is_mid_reply {
            return;
        }
        if server.canceled_by.is_some() {
            // A cancel that is on its way must not strike the ROLLBACK, nor the next client.
            return self.recall_unsent_cancel(id);
        }
        if server.replies.is_skipping() {
            return self.end_skipping(id);
        }
        match rescue {
            Rescue::Ending { .. } | Rescue::RollingBack if server.replies.is_clean() => {
                self.rescued(id);
            }
            Rescue::Ending { .. } => self.rescue_by(id, Rescue::RollingBack, "ROLLBACK"),
            Rescue::RollingBack => self.close_server(id, Reason::ServerAbandoned),
            Rescue::Resetting if !server.replies.is_clean() => {
                self.close_server(id, Reason::ResetFailed);
            }
            Rescue::Resetting => {
                self.servers[id].requested = self.mono();
                self.make_available(id);
            }
        }
    }

    /// An extended query has failed, and the server passes over everything up to Sync.
    pub(in crate::pool) fn end_skipping(&mut self, id: ServerId) {
        self.servers[id].replies.sent(Front::Sync);
        let mut bytes = Vec::new();
        build::empty_front(&mut bytes, Front::Sync);
        self.act(Action::SendServer { server: id, bytes });
    }

    /// The transaction is over. A session is reset within the same limit of time.
    fn rescued(&mut self, id: ServerId) {
        if self.must_reset(id) && !self.servers[id].replies.is_doubtful() {
            let sql = self.reset_query();
            return self.rescue_by(id, Rescue::Resetting, &sql);
        }
        self.part(id);
    }

    /// Takes the next step; `since` stays, so that server_abandon_timeout counts from the client's
    /// end.
    fn rescue_by(&mut self, id: ServerId, rescue: Rescue, sql: &str) {
        if let Some(step) = self.servers[id].rescue_mut() {
            *step = rescue;
        }
        self.run_own_query(id, sql);
    }
}

impl Server {
    /// Whether something that is not answered was sent last, and may still be on its way: the rest
    /// of a COPY that the server has refused, which passes over it.
    pub(in crate::pool) fn may_have_more_coming(&self) -> bool {
        matches!(self.last_sent, Front::CopyData | Front::CopyDone | Front::CopyFail | Front::Flush)
    }

    /// Whether a message that its client has half sent can be completed without doing what the
    /// client has not asked for: only data of a COPY, which is thrown away.
    fn can_be_filled_up(&self) -> bool {
        self.half_sent == 0
            || self.last_sent == Front::CopyData && self.half_sent <= MOST_FILLED_BYTES
    }
}
