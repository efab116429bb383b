//! The hand-over that most transactions make: a client gets the idle server that was used last, to
//! which nothing has to be done before, and lets go of it again when nothing has to be done after.
//!
//! Both come to the same as [`Core::acquire`] and [`Core::part_if_done`] (`handover`), which decide
//! wherever one of the conditions here does not hold. With all of them known to hold, there is
//! little left to do, and each record is looked up once.

use crate::base::time::Moment;
use crate::config::{PoolMode, SessionState, Settings};
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::owed::varcache::VarTable;
use crate::pool::records::client::{Client, QueryRefusal, Replication};
use crate::pool::records::pool::{Purpose, Rest};
use crate::pool::records::server::Server;
use crate::pool::records::session::ServerSession;
use crate::wire::kind::Front;

impl Core {
    /// Whether no setting and no command asks for more than a plain hand-over in a pool.
    pub(in crate::pool) fn hands_over_plainly(&self, id: PoolId) -> bool {
        let Settings { server_round_robin, server_reset_query_always, server_check_delay, .. } =
            self.config.settings;
        let asks_for_more =
            server_round_robin || server_reset_query_always || server_check_delay.is_zero();
        let pool = &self.pools[id];
        let database = &self.databases[pool.database];
        let is_held_back = self.is_held_back(pool.database) || self.is_winding_down();
        let is_shared = pool.purpose == Purpose::Clients && pool.mode != PoolMode::Session;
        is_shared
            && !is_held_back
            && !asks_for_more
            && !self.limits().shares_listen(pool.database)
            && !database.is_removed
    }

    /// Something has changed that [`Core::hands_over_plainly`] depends on.
    pub(in crate::pool) fn plainness_changed(&mut self) {
        self.plainness += 1;
    }

    /// Whether hand-overs in a pool are plain ones. They are asked for in each transaction, so the
    /// pool keeps the answer until something changes.
    #[inline(always)]
    fn is_plain(&mut self, id: PoolId) -> bool {
        #[cfg(test)]
        if self.is_thorough {
            return false;
        }
        let is_known = self.pools[id].plain_under == self.plainness;
        (is_known || self.learn_plainness(id)) && !self.hears(Level::Noise)
    }

    #[cold]
    fn learn_plainness(&mut self, id: PoolId) -> bool {
        let is_plain = self.hands_over_plainly(id);
        if is_plain {
            self.pools[id].plain_under = self.plainness;
        }
        is_plain
    }

    /// Gives an idle client the idle server that was used last, for a request of this kind that is
    /// about to be sent. `None` leaves all as it was, for [`Core::acquire`].
    #[inline(never)]
    pub(in crate::pool) fn acquire_plainly(
        &mut self,
        id: ClientId,
        pool_id: PoolId,
        first: Front,
    ) -> Option<ServerId> {
        if !self.is_plain(pool_id) {
            return None;
        }
        let now = self.mono();
        let policy = match self.watches_sessions {
            true => self.session_policy(&self.clients[id]),
            false => SessionState::Allow,
        };
        let Core { clients, servers, pools, config, latencies, mover, .. } = self;
        let pool = &mut pools[pool_id];
        let server_id = pool.idle.first()?;
        let (client, server) = (&mut clients[id], &mut servers[server_id]);
        let is_plain = pool.waiting.is_empty()
            && pool.rest == Rest::Awake
            && has_no_choice(client)
            && !(policy >= SessionState::Reset && server.session.is_stained())
            && is_fit(server, &config.settings, now)
            && VarTable::is_agreed(&client.vars, &server.vars);
        if !is_plain {
            return None;
        }
        client.requested = now;
        server.mode = pool.mode;
        server.is_worn = true;
        server.session.begin(policy, false);
        server.begin_use(id, client, now);
        // The request that follows is the first one under way.
        server.is_untouched = false;
        server.last_sent = first;
        server.unnamed.settled();
        server.replies.begin();
        server.kept.bytes.clear();
        debug_assert!(server.half_sent == 0, "nothing of another is under way");
        debug_assert!(client.replication == Replication::No, "it has a server of its own");
        client.query_start = now;
        pool.count_assignment(0, latencies);
        mover.pair_idle((id, client), (server_id, servers), pool, now);
        #[cfg(test)]
        {
            self.plain_hand_overs += 1;
        }
        Some(server_id)
    }

    /// Has a client let go of its server, whose transaction is over. Returns false, and leaves all
    /// as it was, where [`Core::part_if_done`] must decide.
    #[inline(always)]
    pub(super) fn part_plainly(&mut self, id: ServerId) -> bool {
        #[cfg(test)]
        if self.is_thorough {
            return false;
        }
        let (now, is_noisy) = (self.mono(), self.hears(Level::Noise));
        let Core { clients, servers, pools, mover, plainness, .. } = self;
        let Some(server) = servers.get_mut(id) else { return false };
        let Some(client_id) = server.client() else { return false };
        let (client, pool) = (&mut clients[client_id], &mut pools[server.pool]);
        let is_plain = pool.plain_under == *plainness
            && !is_noisy
            && pool.waiting.is_empty()
            && is_at_rest(server)
            && server.mode != PoolMode::Session
            && now < server.end_of_life
            && client.refusal == QueryRefusal::None
            && client.hold().is_none()
            && !takes_unnamed_along(client, server);
        if !is_plain {
            return false;
        }
        debug_assert!(!server.is_abandoned, "it was brought to an end before a client got it");
        server.requested = now;
        server.replies.shrink();
        mover.part_to_idle(client, (id, servers), pool, now);
        self.has_place |= !self.awaiting_place.is_empty();
        true
    }
}

/// Whether a client uses the servers of its pool as all do: by the mode of the pool.
#[inline(always)]
fn has_no_choice(client: &Client) -> bool {
    client.rare.as_ref().is_none_or(|rare| rare.choice.mode.is_none() && rare.listens.is_none())
}

/// Whether an idle server may be used without a test.
#[inline(always)]
fn is_fit(server: &Server, settings: &Settings, now: Moment) -> bool {
    let is_tested = settings.server_check_query.is_empty()
        || now < server.requested + settings.server_check_delay;
    is_tested && server.closing.is_none() && now < server.end_of_life
}

/// Whether a server that a client has used has nothing under way, and nothing to be done to it.
#[inline(always)]
fn is_at_rest(server: &Server) -> bool {
    server.replies.is_clean()
        && server.own.is_nothing()
        && !server.replies.is_doubtful()
        && is_left_clean(&server.session)
        && !server.is_untouched
        && !server.is_private
        && server.canceled_by.is_none()
        && server.closing.is_none()
}

/// Whether a session can be handed on as the client has left it. One that is not watched may have
/// to be reset, too: a RELOAD can end the session mode of a client that leaves nothing to others.
#[inline(always)]
fn is_left_clean(session: &ServerSession) -> bool {
    !session.shares_listen
        && !session.is_pinned()
        && !session.must_be_pinned()
        && !session.must_be_reset()
}

/// Whether the client may later bind an unnamed statement that it has prepared here or before.
#[inline(always)]
fn takes_unnamed_along(client: &Client, server: &Server) -> bool {
    match server.unnamed.result() {
        None => false,
        Some(None) => client.statements.as_ref().is_some_and(|all| all.unnamed.is_some()),
        Some(Some(_)) => true,
    }
}

impl Server {
    /// Notes that a client begins to use the server.
    #[inline(always)]
    pub(super) fn begin_use(&mut self, id: ClientId, client: &mut Client, now: Moment) {
        self.requested = now;
        self.xact_start = now;
        self.is_untouched = true;
        // Forget whose unnamed statement is here, unless this client had this server last.
        let mark = self.mark();
        let was_here_last = std::mem::replace(&mut client.last_server, mark) == mark;
        if self.last_client.replace(id) != Some(id) || !was_here_last {
            self.replies.disown_unnamed();
            self.session.disown_unnamed();
        }
        self.unnamed.begin();
        self.unheard = 0;
        self.waited_us = now.micros_since(client.requested);
    }
}
