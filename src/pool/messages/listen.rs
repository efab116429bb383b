//! LISTEN and UNLISTEN of clients that share their servers (`shared_listen`).
//!
//! A client's LISTEN is run by the server that it has, as it is written. When the transaction is
//! over, and before the client hears so, the session is asked which channels it has, and has none
//! any more: PostgreSQL itself has read the names, and has undone what was rolled back. A text that
//! may take channels away, or begins what can be rolled back in part, finds them in the session:
//! they are given back to it first.
//!
//! As in `pin`, the functions take the core whole.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::owed::verdict::{Hold, ServerVerdict, Verdict};
use crate::pool::records::listening::{Handing, MOST_CHANNELS, Recalled, push_quoted};
use crate::pool::records::server::{Attempt, OwnQuery, Server};
use crate::pool::statements::traces::Traces;
use crate::pool::statements::{deallocate, scan};
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Message};
use crate::wire::fields::{self, Fields};
use crate::wire::head::Head;
use crate::wire::kind::{Back, Front};

/// Texts up to this length are read before they are sent; longer ones are taken for what needs the
/// channels.
const LONGEST_READ_BYTES: usize = 64 * 1024;

/// Gives a client's channels back to its server's session, where what it sends needs them there.
pub(super) fn recall(
    core: &mut Core,
    id: ClientId,
    server_id: ServerId,
    kind: Front,
    head: Head,
    seen: &[u8],
) -> Option<Verdict> {
    let server = &core.servers[server_id];
    let is_of_copy = matches!(kind, Front::CopyData | Front::CopyDone | Front::CopyFail);
    if is_of_copy || server.replies.takes_copy_data() {
        // Whatever else comes now breaks the COPY.
        return None;
    }
    let is_behind = !server.replies.is_answered() && !server.replies.awaits_sync();
    if is_behind && server.session.must_tell_channels() {
        // What the client listens to is to be known before it hears that the transaction is over.
        core.make_speak(server_id);
        return Some(Verdict::Hold(Hold::Undecided));
    }
    let server = &core.servers[server_id];
    let is_recalled = server.session.handing.as_ref().is_some_and(|h| h.recalled != Recalled::No);
    // Nothing is run in a failed transaction; what is under way may yet end it.
    let has_failed =
        server.replies.status() == TransactionStatus::Failed && server.replies.is_answered();
    if is_recalled || !core.clients[id].has_channels() || has_failed {
        return None;
    }
    let needs_channels = match kind {
        Front::Query | Front::Parse if head.body > LONGEST_READ_BYTES => true,
        Front::Query | Front::Parse if seen.len() < head.body => {
            return Some(Verdict::Need(head.body));
        }
        Front::Query | Front::Parse => {
            scan::read(fields::sql_of(kind, seen).unwrap_or_default()).needs_channels
        }
        Front::Bind => match bound_needs_channels(core, id, server_id, seen) {
            None if seen.len() < head.body => return Some(Verdict::Need(head.body)),
            needs_channels => needs_channels.unwrap_or(true),
        },
        _ => false,
    };
    if !needs_channels {
        return None;
    }
    let server = &core.servers[server_id];
    if !server.replies.is_answered() {
        core.make_speak(server_id);
        return Some(Verdict::Hold(Hold::Undecided));
    }
    if !server.replies.is_unburdened() {
        // A query in the middle of others would end their transaction.
        core.servers[server_id].session.handing.get_or_insert_default().is_missed = true;
        return None;
    }
    let is_inside = server.replies.status() == TransactionStatus::InTransaction;
    // In a failed transaction COMMIT is a rollback, and no error: its client must not go on then.
    let may_commit =
        kind == Front::Query && (seen.len() < head.body || deallocate::may_end_block(seen));
    let attempt = if is_inside && may_commit { Attempt::Last } else { Attempt::First };
    give_back(core, id, server_id, is_inside, attempt);
    Some(Verdict::Hold(Hold::Probe))
}

fn give_back(core: &mut Core, id: ClientId, server: ServerId, is_inside: bool, attempt: Attempt) {
    let sql = recall_query(core, id, is_inside);
    let handing = core.servers[server].session.handing.get_or_insert_default();
    handing.told = None;
    handing.recalled = Recalled::Yes;
    core.servers[server].session.left_by_recall();
    // The server must not be taken off its client when the recall ends: the message that needs the
    // channels is still to be sent.
    core.servers[server].is_untouched = true;
    core.ask_beside(server, id, OwnQuery::Recall { is_inside, attempt }, &sql);
}

/// A late cancel request has struck what gives the channels back. A transaction has failed by that,
/// as it would have by a query of the client's, which hears so when it goes on.
pub(super) fn recall_struck(core: &mut Core, id: ServerId, client: ClientId, is_inside: bool) {
    let server = &mut core.servers[id];
    if !is_inside {
        return match server.replies.is_clean() {
            true => give_back(core, client, id, is_inside, Attempt::Last),
            false => core.close_server(id, Reason::SessionStateKept),
        };
    }
    let has_failed =
        server.replies.is_answered() && server.replies.status() == TransactionStatus::Failed;
    let Some(handing) = server.session.handing.as_mut().filter(|_| has_failed) else {
        return core.close_server(id, Reason::SessionStateKept);
    };
    // The rollback takes them away again.
    handing.recalled = Recalled::No;
    handing.told = None;
    core.wake(client);
}

/// Whether the statement of a Bind needs the channels; `None` when its name has not come yet.
fn bound_needs_channels(
    core: &mut Core,
    id: ClientId,
    server: ServerId,
    seen: &[u8],
) -> Option<bool> {
    let mut fields = Fields::new(seen);
    let name = fields.cstr().and_then(|_| fields.cstr())?;
    let client = &core.clients[id];
    let is_named = !name.is_empty() && core.tracks_statements(client);
    let statement: Option<StatementId> = match &client.statements {
        Some(all) if is_named => all.names.get(name),
        // The client's own, which the server may have lost meanwhile.
        Some(all) => all.unnamed,
        None => None,
    };
    let Server { session, replies, .. } = &core.servers[server];
    if !is_named && session.unnamed_needs_channels(replies.segment()) {
        return Some(true);
    }
    Some(statement.is_some_and(|id| core.statements.effects(id).needs_channels))
}

fn recall_query(core: &Core, id: ClientId, is_inside: bool) -> Vec<u8> {
    let mut sql = Vec::new();
    if is_inside {
        // Whether it was committed decides at its end on what was given back.
        sql.extend_from_slice(b"SELECT pg_catalog.txid_current()");
    }
    let channels = core.clients[id].listens().map(|listens| &listens.channels);
    for channel in channels.into_iter().flatten() {
        sql.extend_from_slice(if sql.is_empty() { b"LISTEN " } else { b"; LISTEN " });
        push_quoted(&mut sql, channel);
    }
    sql
}

/// The longest row that is awaited, in bytes: names of channels are shorter.
const LONGEST_ROW_BYTES: usize = 1024;

/// A row that has not come whole.
pub(super) fn await_row(core: &mut Core, id: ServerId, head: Head) -> ServerVerdict {
    if head.body <= LONGEST_ROW_BYTES {
        return ServerVerdict::Need(head.body);
    }
    core.close_server(id, Reason::SessionStateKept);
    ServerVerdict::Closed
}

/// A row in answer to `OwnQuery::Channels` or `OwnQuery::Recall`.
pub(super) fn row(core: &mut Core, id: ServerId, own: OwnQuery, body: &[u8]) {
    let mut fields = Fields::new(body);
    let (count, length) = (fields.u16(), fields.u32());
    let Some(handing) = &mut core.servers[id].session.handing else { return };
    let value = fields.rest();
    // NULL has no bytes.
    let is_null = length == Some(u32::MAX) && value.is_empty();
    let is_whole = is_null || length.is_some_and(|length| length as usize == value.len());
    if !is_whole || count != Some(1) {
        return;
    }
    let is_of_transaction =
        matches!(own, OwnQuery::Recall { .. }) || matches!(handing.recalled, Recalled::In(_));
    if is_of_transaction && handing.told.is_none() {
        handing.told = Some(String::from_utf8_lossy(value).into());
    } else if handing.channels.len() < MOST_CHANNELS {
        handing.channels.insert(value.into());
    } else {
        handing.has_too_many = true;
    }
}

/// The channels are in the session again. Returns whether that is sure.
pub(super) fn recalled(core: &mut Core, id: ServerId, client: ClientId, is_inside: bool) -> bool {
    let server = &mut core.servers[id];
    let Some(handing) = &mut server.session.handing else { return false };
    if is_inside {
        let number = handing.told.take().filter(|told| told.bytes().all(|b| b.is_ascii_digit()));
        let Some(number) = number.filter(|number| !number.is_empty()) else { return false };
        handing.recalled = Recalled::In(number);
    }
    let is_well =
        server.replies.is_answered() && server.replies.status() != TransactionStatus::Failed;
    if is_well {
        core.wake(client);
    }
    is_well
}

/// The session has told its channels. It listens to none of them any more: they are the client's.
pub(super) fn taken_over(core: &mut Core, id: ServerId, client: ClientId) {
    let Some(handing) = core.servers[id].session.handing.take() else { return };
    let Handing { recalled, mut channels, told, has_too_many, is_missed } = *handing;
    core.servers[id].session.cleared(Traces::LISTEN);
    let is_all = match recalled {
        Recalled::No => false,
        Recalled::Yes => true,
        Recalled::In(_) => told.as_deref() == Some("committed"),
    };
    let own = core.clients[client].listens().map(|listens| &listens.channels);
    if !is_all {
        // The session never had the client's earlier channels, or has lost them by a rollback.
        channels.extend(own.into_iter().flatten().cloned());
    }
    let complaint = if is_missed {
        Some("Channels were taken away in the middle of a pipeline, where that has no effect.")
    } else if has_too_many || channels.len() > MOST_CHANNELS {
        Some("A client may listen to 1000 channels.")
    } else if channels.iter().any(|name| !name.is_ascii()) && !core.has_shared_encoding(client) {
        Some("A channel whose name is not ASCII needs the client_encoding UTF8.")
    } else {
        None
    };
    match complaint {
        None => core.set_channels(client, channels),
        Some(text) => core.keep_channels(client, text),
    }
}

/// A notification of the session of a client. Of channels that are taken over the shared connection
/// tells. A client that has notified itself knows itself by the process id that it was told.
pub(super) fn judge_notification(
    core: &Core,
    id: ServerId,
    client: ClientId,
    body: &[u8],
    to_client: &mut OutgoingBytes<'_>,
) -> ServerVerdict {
    let forward = ServerVerdict::Forward(client);
    let Some((from, rest)) = body.split_first_chunk::<4>() else { return forward };
    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
    let record = &core.clients[client];
    if record.listens().is_some_and(|listens| listens.channels.contains(name)) {
        return ServerVerdict::Drop;
    }
    if core.servers[id].key.first_chunk() != Some(from) {
        return forward;
    }
    let told = record.process_id();
    Message::back(to_client.words(), Back::NotificationResponse).bytes(&told).bytes(rest).end();
    ServerVerdict::Drop
}

/// The end of the client's transaction, as it is told it: after what it has been notified of
/// meanwhile, and not before all channels are heard that it listens to.
pub(super) fn tell_ready(
    core: &mut Core,
    client: ClientId,
    to_client: &mut OutgoingBytes<'_>,
) -> bool {
    if core.waits_for_channels(client) {
        core.hold_on(client, Hold::Channels);
        return false;
    }
    core.take_notifications(client, to_client.words());
    build::ready_for_query(to_client.words(), b'I');
    true
}

/// The channels are the client's, which has heard of the end of its transaction before.
pub(super) fn told_late(core: &mut Core, client: ClientId, to_client: &mut OutgoingBytes<'_>) {
    core.take_undelivered(client, to_client.words());
    core.wake(client);
}

/// What a client has not been told yet, now that nothing of it is under way.
pub(super) fn take(core: &mut Core, id: ClientId, into: &mut Vec<u8>) {
    core.take_notifications(id, into);
}

/// Whether a server is the shared connection of a pool.
pub(super) fn is_shared(core: &Core, id: ServerId) -> bool {
    core.pools[core.servers[id].pool].listening.is_some()
}

/// The shared connection is notified. That is what it is for, however often it comes.
pub(super) fn notified(core: &mut Core, id: ServerId, body: &[u8]) {
    core.servers[id].unheard = 0;
    core.notified(id, body);
}

/// The shared connection does not do what it is told.
pub(super) fn failed(core: &mut Core, id: ServerId, message: String) {
    if let Some(all) = &mut core.pools[core.servers[id].pool].listening {
        all.failure = Some(message.into());
    }
}
