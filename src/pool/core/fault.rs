//! Servers that do not come about, or that say what PostgreSQL never says: how they end.

use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::owed::replies::Reply;
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::handshake::LoginStage;
use crate::pool::records::server::ServerState;
use crate::pool::telling::reason::Reason;
use crate::wire::kind::Back;

impl Core {
    /// Notes that a reply has come. One that nothing under way can have brought ends the server.
    #[inline]
    pub(in crate::pool) fn take_reply(
        &mut self,
        id: ServerId,
        kind: Back,
        body: &[u8],
    ) -> Option<Reply> {
        let status = body.first().copied().unwrap_or_default();
        let reply = self.servers[id].replies.received(kind, status).ok();
        if reply.is_none() {
            self.unknown_from_server(id, kind as u8);
        }
        reply
    }

    pub(in crate::pool) fn server_dropped_or_closed(&self, id: ServerId) -> ServerVerdict {
        if self.servers[id].is_closing() { ServerVerdict::Closed } else { ServerVerdict::Drop }
    }

    pub(in crate::pool) fn unknown_from_server(&mut self, id: ServerId, kind: u8) {
        self.let_go_of_done_client(id);
        let kind = char::from(kind).escape_default().to_string();
        self.log_server(Level::Error, id, format_args!("unknown pkt from server: '{kind}'"));
        self.server_failed(id, Reason::UnknownServerPacket);
    }

    /// The length of a head makes no sense.
    pub fn server_sent_bad_head(&mut self, id: ServerId) {
        self.let_go_of_done_client(id);
        self.server_failed(id, Reason::BadPacketHeader);
    }

    /// Ends a server for a fault that PostgreSQL has not told itself: it was not reached, took too
    /// long, or broke the protocol. A login that ends so counts against its host, or its pool.
    pub(in crate::pool) fn server_failed(&mut self, id: ServerId, reason: Reason) {
        let words = reason.words();
        self.server_failed_as(id, reason, &words);
    }

    /// Ends a server for such a fault, in words that say more than the reason does.
    pub(in crate::pool) fn server_failed_as(&mut self, id: ServerId, reason: Reason, words: &str) {
        if let ServerState::Login(login) = self.servers[id].state() {
            match login.stage {
                // What the operator wants run has failed, not the host.
                LoginStage::ConnectQuery => self.note_refusal(id, words),
                LoginStage::Authenticating(_)
                | LoginStage::Connecting
                | LoginStage::Deriving(_)
                | LoginStage::Reporting
                | LoginStage::Resolving(_) => self.note_unreachable(id, words),
            }
            let name = self.pool_name(self.servers[id].pool);
            self.note_repeating(&format!("server login of {name} failed: {words}"));
        }
        self.close_server(id, reason);
    }
}
