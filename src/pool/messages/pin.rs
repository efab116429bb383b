//! What becomes at the end of a transaction of what the client has left in its server's session:
//! it is warned of, kept for the client alone, or undone and the client told.
//!
//! The functions take the core whole, and nobody but the judge of servers calls them.

use super::listen;
use crate::config::SessionState;
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::core::own_query::MOST_STEPS;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::verdict::{Hold, ServerVerdict};
use crate::pool::records::server::{Attempt, OwnQuery, Test};
use crate::pool::statements::traces::Traces;
use crate::pool::telling::reason::Reason;
use crate::pool::telling::refusal::StatementRefusal;
use crate::wire::build;
use crate::wire::fields::ReportFields;
use crate::wire::kind::Back;
use crate::wire::sqlstate;

/// Whether the session holds an advisory lock. Outside of a transaction it is the session's own.
const PROBE: &str = "SELECT 1 FROM pg_catalog.pg_locks WHERE locktype OPERATOR(pg_catalog.=) \
     'advisory' AND pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() LIMIT 1";

/// A transaction of a watched client is over; its ReadyForQuery is about to go out.
pub(super) fn transaction_ended(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    to_client: &mut OutgoingBytes<'_>,
) -> ServerVerdict {
    if core.servers[id].session.leaves_nothing() {
        return ServerVerdict::Forward(client);
    }
    // A cancel request on its way is no obstacle: the server stays with the client whom it is for.
    let server = &core.servers[id];
    let is_clean = server.replies.is_clean() && !server.replies.is_doubtful();
    // Nothing can be asked in the middle of what its client sends: data that came after a COPY.
    let is_clean = is_clean && server.own.is_nothing() && server.half_sent == 0;
    if is_clean && server.session.must_tell_channels() {
        core.ask_for_channels(id, client, false, Attempt::First);
        return ServerVerdict::Drop;
    }
    if core.servers[id].session.shares_listen {
        core.take_notifications(client, to_client.words());
    }
    judge_left(core, id, client, is_clean, to_client)
}

/// What becomes of what else is left. Returns whether the client hears of the end now.
fn judge_left(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    is_clean: bool,
    to_client: &mut OutgoingBytes<'_>,
) -> ServerVerdict {
    let session = &mut core.servers[id].session;
    let left = session.left_for_sure();
    if left.is_empty() {
        session.pinned = None;
        session.touches_locks = false;
        return ServerVerdict::Forward(client);
    }
    let (policy, touches_locks) = (session.policy, session.touches_locks);
    match policy {
        SessionState::Allow | SessionState::Reset => {}
        SessionState::Warn => warn(core, id, client, left),
        // What has been sent after it may be what leaves it, or takes it away.
        SessionState::Pin | SessionState::Error if !is_clean => {}
        SessionState::Pin if left.has(Traces::LOCK) && touches_locks => {
            core.servers[id].session.touches_locks = false;
            core.ask_beside(id, client, OwnQuery::Probe { is_locked: false }, PROBE.as_bytes());
            return ServerVerdict::Drop;
        }
        SessionState::Pin if pin(core, id, client, to_client) => {}
        SessionState::Pin => return ServerVerdict::Drop,
        SessionState::Error => {
            let refusal = StatementRefusal::of_policy(&left.meanings(), true);
            refuse_late(core, id, client, &refusal, to_client);
            return ServerVerdict::Drop;
        }
    }
    ServerVerdict::Forward(client)
}

/// Warns once of each kind of trace that a client leaves.
fn warn(core: &mut Core, id: ServerId, client: ClientId, left: Traces) {
    let rare = core.clients[client].rare.get_or_insert_default();
    let new = left.without(rare.warned_of);
    if new.is_empty() {
        return;
    }
    rare.warned_of = rare.warned_of.and(new);
    core.servers[id].session.by = core.clients[client].number;
    let what = new.meanings();
    let text = format!(
        "leaves in the session of a server that others will use: {what} (session_state: reset \
         would undo it, pin keep it for this client, error refuse it)"
    );
    let pool = core.servers[id].pool;
    core.pools[pool].undone.warnings += 1;
    core.log_client(Level::Warning, client, format_args!("{text}"));
    core.note_repeating(&format!("session state left for other clients: {what}"));
}

/// Keeps the server for its client, if there is a pin to be had. Returns whether there was: else
/// the client is told, and what it has left is being undone.
fn pin(core: &mut Core, id: ServerId, client: ClientId, to_client: &mut OutgoingBytes<'_>) -> bool {
    let now = core.mono();
    let pool = core.servers[id].pool;
    if core.servers[id].session.is_pinned() {
        return true;
    }
    let left = core.servers[id].session.left_for_sure();
    let (most, pinned) = (core.limits().pin_limit(pool), core.pinned_count(pool));
    if pinned < most {
        core.servers[id].session.pin(core.clients[client].number, now);
        core.pools[pool].undone.pins += 1;
        core.log_client(Level::Debug, client, format_args!("keeps its server: {left}"));
        return true;
    }
    core.note_repeating("limit reached: pin_limit");
    let refusal = StatementRefusal::of_limit(&left.meanings(), pinned, most);
    refuse_late(core, id, client, &refusal, to_client);
    false
}

/// Tells the client, and undoes what it has left before it hears that the server is ready.
fn refuse_late(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    refusal: &StatementRefusal,
    to_client: &mut OutgoingBytes<'_>,
) {
    let pool = core.servers[id].pool;
    core.pools[pool].undone.refusals += 1;
    build::report(to_client.words(), &refusal.report());
    undo(core, id, client, Attempt::First);
}

fn undo(core: &mut Core, id: ServerId, client: ClientId, attempt: Attempt) {
    let sql = core.servers[id].session.begin_undoing();
    core.ask_beside(id, client, OwnQuery::Undo { attempt }, sql.as_bytes());
}

/// An answer to such a query.
pub(super) fn judge_own_query(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    kind: Back,
    body: &[u8],
    to_client: &mut OutgoingBytes<'_>,
) -> ServerVerdict {
    if core.take_reply(id, kind, body).is_none() {
        return ServerVerdict::Closed;
    }
    let own = core.servers[id].own;
    let is_of_channels = matches!(own, OwnQuery::Channels { .. } | OwnQuery::Recall { .. });
    let is_probe = matches!(own, OwnQuery::Probe { .. });
    if kind == Back::ReadyForQuery {
        own_query_ended(core, id, client, to_client);
    } else if kind == Back::ParameterStatus {
        core.server_reported(id, body);
    } else if kind == Back::NotificationResponse && is_of_channels {
        return listen::judge_notification(core, id, client, body, to_client);
    } else if kind == Back::NotificationResponse {
        // The client listens in this session still.
        return ServerVerdict::Forward(client);
    } else if kind == Back::DataRow && is_of_channels {
        listen::row(core, id, own, body);
    } else if matches!(kind, Back::DataRow | Back::ErrorResponse) && is_probe {
        // A row tells of a lock. After an error nobody knows, and a lock is assumed.
        core.servers[id].own = OwnQuery::Probe { is_locked: true };
    } else if kind == Back::ErrorResponse {
        return own_query_failed(core, id, client, body);
    } else if kind == Back::CommandComplete && matches!(own, OwnQuery::Undo { .. }) {
        core.servers[id].session.tagged_of_own(body);
        core.heed_server_tag(id, body);
    }
    core.server_dropped_or_closed(id)
}

/// The session cannot be given to others as it is: the server is closed. If the error was its
/// goodbye, the client hears that, whatever the server was asked.
fn own_query_failed(core: &mut Core, id: ServerId, client: ClientId, body: &[u8]) -> ServerVerdict {
    core.heed_error(id, body);
    if core.servers[id].has_said_farewell {
        return ServerVerdict::Forward(client);
    }
    let own = &mut core.servers[id].own;
    if let OwnQuery::Channels { attempt, .. }
    | OwnQuery::Recall { attempt, .. }
    | OwnQuery::Undo { attempt } = own
        && *attempt == Attempt::First
        && ReportFields::parse(body).sqlstate == sqlstate::QUERY_CANCELED
    {
        *attempt = Attempt::Struck;
        return ServerVerdict::Drop;
    }
    core.close_server(id, Reason::SessionStateKept);
    ServerVerdict::Closed
}

fn own_query_ended(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    to_client: &mut OutgoingBytes<'_>,
) {
    let server = &mut core.servers[id];
    let own = std::mem::take(&mut server.own);
    server.replies.disown_unnamed();
    if let OwnQuery::Recall { is_inside, attempt } = own {
        if attempt == Attempt::Struck {
            return listen::recall_struck(core, id, client, is_inside);
        }
        if !listen::recalled(core, id, client, is_inside) {
            core.close_server(id, Reason::SessionStateKept);
        }
        return;
    }
    if let OwnQuery::Channels { is_end_told, attempt } = own {
        if !server.replies.is_clean() {
            return core.close_server(id, Reason::SessionStateKept);
        }
        if attempt == Attempt::Struck {
            return core.ask_for_channels(id, client, is_end_told, Attempt::Last);
        }
        listen::taken_over(core, id, client);
        if is_end_told {
            return listen::told_late(core, client, to_client);
        }
        if judge_left(core, id, client, true, to_client) != ServerVerdict::Forward(client) {
            return;
        }
        return tell_ready(core, id, client, to_client);
    }
    if own == (OwnQuery::Probe { is_locked: false }) {
        server.session.cleared(Traces::LOCK);
    }
    if own == (OwnQuery::Undo { attempt: Attempt::Struck }) && server.replies.is_clean() {
        return undo(core, id, client, Attempt::Last);
    }
    let is_undo = matches!(own, OwnQuery::Undo { .. });
    let is_well = !is_undo || server.session.ends_undone();
    if !is_well || !server.replies.is_clean() {
        return core.close_server(id, Reason::SessionStateKept);
    }
    let left = server.session.left_for_sure();
    if left.is_empty() {
        server.session.pinned = None;
    } else if !is_undo && !pin(core, id, client, to_client) {
        return;
    }
    tell_ready(core, id, client, to_client);
}

fn tell_ready(core: &mut Core, id: ServerId, client: ClientId, to_client: &mut OutgoingBytes<'_>) {
    if !listen::tell_ready(core, client, to_client) {
        return;
    }
    // What was undone may have been the client's parameters, too.
    if core.set_parameters(client, id, MOST_STEPS) {
        core.wake(client);
    } else {
        core.hold_on(client, Hold::Parameters);
    }
}

/// An answer to a query that resets or undoes what others have left, before the client finds it.
pub(super) fn judge_reset_reply(
    core: &mut Core,
    id: ServerId,
    client: ClientId,
    step: Test,
    kind: Back,
    body: &[u8],
) -> ServerVerdict {
    if core.take_reply(id, kind, body).is_none() {
        return ServerVerdict::Closed;
    }
    if kind != Back::ReadyForQuery {
        core.heed_own_reply(id, step, kind, body);
        return core.server_dropped_or_closed(id);
    }
    let server = &mut core.servers[id];
    server.own = OwnQuery::Nothing;
    server.replies.disown_unnamed();
    server.session.disown_unnamed();
    let is_done = match step {
        Test::Reset => {
            server.is_worn = false;
            true
        }
        Test::Undo => server.session.ends_undone(),
        Test::Abandoned(_) | Test::Check | Test::Doubt | Test::Listen | Test::Setup => true,
    };
    if !server.replies.is_clean() || !is_done {
        core.close_server(id, step.failure());
    } else if step == Test::Undo && core.set_up_again(id) {
        core.servers[id].own = OwnQuery::Reset(Test::Setup);
    } else if core.set_parameters(client, id, MOST_STEPS) {
        core.set_up_ended(id, client);
    }
    core.server_dropped_or_closed(id)
}
