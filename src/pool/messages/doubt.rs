//! What a server answers while it is in doubt which Syncs a COPY has eaten
//! ([`crate::pool::core::Core::resolve_doubt`]).

use crate::pool::owed::replies::{Reply, TransactionStatus};
use crate::pool::records::server::{OwnQuery, Server};
use crate::wire::fields;
use crate::wire::kind::Back;

/// What becomes of an answer.
pub(super) enum Answered {
    /// It is the pooler's, and the last: the client goes on.
    End,
    /// It is the client's, as at any other time.
    Theirs,
    /// It is the client's ReadyForQuery.
    Ready(TransactionStatus),
    /// It is the pooler's.
    Ours,
}

/// Tells whose an answer is. `is_probed` tells that it answers the pooler's Close. What comes
/// before that is the client's. Where the pooler has sent a Sync in front of the Close, one
/// ReadyForQuery more comes than the client is owed: so the first is kept back.
pub(super) fn tell(
    server: &mut Server,
    (reply, kind): (Reply, Back),
    is_probed: bool,
    body: &[u8],
) -> Answered {
    server.note_doubt();
    let OwnQuery::Doubt(doubt) = &mut server.own else { return Answered::Theirs };
    match (reply, kind) {
        (Reply::Ready(_), _) if doubt.is_over => {
            if doubt.is_synced && doubt.is_extended && doubt.readies == 1 {
                // The pooler's Sync was the first that the server has seen since the error: that of
                // the client is still to come.
                server.replies.refuse_to_sync();
            }
            server.own = OwnQuery::Nothing;
            Answered::End
        }
        (Reply::Ready(status), _) => {
            doubt.readies += 1;
            match doubt.is_synced && doubt.readies == 1 {
                true => Answered::Ours,
                false => Answered::Ready(status),
            }
        }
        (Reply::Swallowed, _) => {
            doubt.is_over = true;
            Answered::Ours
        }
        // A cancel request that was meant for an earlier query has struck the Close.
        (_, Back::ErrorResponse) if is_probed => {
            doubt.is_over = true;
            server.replies.end_doubt();
            match fields::ReportFields::parse(body).severity == "ERROR" {
                true => Answered::Ours,
                false => Answered::Theirs,
            }
        }
        _ => Answered::Theirs,
    }
}
