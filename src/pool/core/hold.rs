//! Clients that are held: what ends it, and that they go on then.
//!
//! A hold ends in one of three ways. The client comes to another state ([`Core::move_client`]).
//! Replies come from its server, or from the pooler in its place ([`Core::replies_came`]). Or what
//! was waited for ends within a state, and whoever ends it calls [`Core::wake`]. `check` refuses a
//! client that is held though what it waits for has come, or can never come.

use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::verdict::Hold;
use crate::pool::records::client::{ClientState, QueryRefusal, Standing};
use crate::pool::records::server::{Doubt, OwnQuery, Server};
use crate::wire::build::{self, Message};
use crate::wire::kind::Front;

/// What a Close names: a statement, by a name that no statement has on any server.
const NEVER_THERE: &[u8] = b"SPGBOUNCER_NEVER\0";

impl Core {
    /// Ends the hold of a client: it is run in `Engine::turn`, beginning with what it has sent
    /// meanwhile.
    pub(in crate::pool) fn wake(&mut self, id: ClientId) {
        self.clients[id].hold = None;
        self.act(Action::RunClient(id));
    }

    /// What a held client has waited for has come, and it waits for something else now.
    pub(in crate::pool) fn hold_on(&mut self, id: ClientId, hold: Hold) {
        if let Some(client) = self.clients.get_mut(id)
            && client.hold.is_some()
        {
            client.hold = Some(hold);
        }
    }

    /// Replies have come for a client, from its server or from the pooler in its place: what it is
    /// held for may be among them.
    #[inline(always)]
    pub fn replies_came(&mut self, id: ClientId) {
        if let Some(hold) = self.clients.get(id).and_then(|client| client.hold) {
            self.replies_came_for(id, hold);
        }
    }

    #[inline(never)]
    fn replies_came_for(&mut self, id: ClientId, hold: Hold) {
        let goes_on = match hold {
            // Each reply may be the one that decides; the judge will tell.
            Hold::Undecided => true,
            Hold::Answers | Hold::Bar | Hold::Replies => !self.is_awaited(id, hold),
            Hold::Channels
            | Hold::Command
            | Hold::Doubt
            | Hold::Login
            | Hold::Parameters
            | Hold::Probe
            | Hold::Repeat
            | Hold::Server { .. }
            | Hold::Welcome => false,
        };
        if goes_on {
            self.wake(id);
        }
    }

    /// Asks a server what it has answered of what went before, with a Sync in front where it may be
    /// passing over all up to one.
    #[cold]
    pub(in crate::pool) fn resolve_doubt(&mut self, id: ServerId, is_synced: bool) {
        let mut bytes = Vec::new();
        if is_synced {
            build::empty_front(&mut bytes, Front::Sync);
        }
        Message::front(&mut bytes, Front::Close).bytes(NEVER_THERE).end();
        build::empty_front(&mut bytes, Front::Sync);
        let server = &mut self.servers[id];
        let is_extended = !server.replies.answers_query();
        let doubt = Doubt { is_synced, is_noted: false, is_extended, readies: 0, is_over: false };
        server.own = OwnQuery::Doubt(doubt);
        server.note_doubt();
        self.act(Action::SendServer { server: id, bytes });
    }

    /// Sees to it that a server sends the answers that it has, if it may keep them to itself.
    #[cold]
    pub(in crate::pool) fn make_speak(&mut self, id: ServerId) {
        if self.servers[id].replies.take_unflushed() {
            let mut bytes = Vec::new();
            build::empty_front(&mut bytes, Front::Flush);
            self.act(Action::SendServer { server: id, bytes });
        }
    }

    /// Whether that which ends a hold is still to come.
    pub(in crate::pool) fn is_awaited(&self, id: ClientId, hold: Hold) -> bool {
        let client = &self.clients[id];
        let server = client.server().map(|server| &self.servers[server]);
        let of_server = |is_so: fn(&Server) -> bool| server.is_some_and(is_so);
        match hold {
            Hold::Answers => of_server(|s| !s.replies.is_answered() || s.is_mid_reply),
            Hold::Bar => of_server(|server| server.replies.is_barred()),
            Hold::Channels => client.awaits_channels(),
            Hold::Command => {
                matches!(client.state(), ClientState::Console(console) if console.wait.is_some())
            }
            Hold::Doubt => of_server(|server| matches!(server.own, OwnQuery::Doubt(_))),
            Hold::Login => matches!(client.state(), ClientState::Login(login) if login.is_held()),
            Hold::Parameters => {
                // Cancelled meanwhile: it waits for the relay to let go of the server.
                client.refusal != QueryRefusal::None
                    || of_server(|s| {
                        matches!(
                            s.own,
                            OwnQuery::Reset(_) | OwnQuery::Vars { .. } | OwnQuery::VarsRefused
                        )
                    })
            }
            Hold::Probe => of_server(|s| {
                matches!(
                    s.own,
                    OwnQuery::Channels { .. }
                        | OwnQuery::Probe { .. }
                        | OwnQuery::Recall { .. }
                        | OwnQuery::Undo { .. }
                )
            }),
            Hold::Repeat => of_server(|server| server.own == OwnQuery::Repeat),
            Hold::Replies => of_server(|server| server.replies.is_full()),
            Hold::Server { .. } => client.is_waiting(),
            Hold::Undecided => of_server(|server| !server.replies.is_answered()),
            Hold::Welcome => client.standing() == Some(Standing::AwaitWelcome),
        }
    }
}
