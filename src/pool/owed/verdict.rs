//! What the judges of messages say, and why a message must wait.

use crate::pool::ids::{ClientId, ServerId};

/// What the relay does with a message of a client's. The judge has written into `Said` already
/// what comes before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it is.
    Forward(ServerId),
    /// What the judge has written takes the place of the first `taken` bytes (the head counts); the
    /// rest follows.
    Replace { to: ServerId, taken: usize },
    /// Not at all; what the judge has written takes its place.
    Drop,
    /// So many bytes of the body must be there first.
    Need(usize),
    /// Later: the client is not read until what it waits for has come.
    Hold(Hold),
    /// It is for the console, whole.
    Console,
    /// The connection is being closed; what follows is of no interest.
    Closed,
}

/// What a client waits for before more of what it sends is judged. Each is ended by something that
/// is sure to come; `core::hold` tells by what, and sees to it that the client goes on then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// All answers to what was sent: what is asked now depends on what they say.
    Answers,
    /// The answers that decide what comes next (see `bar`).
    Bar,
    /// The answer that shows whether a COPY that has failed has eaten Syncs.
    Doubt,
    /// That the channels are heard which it listens to (`shared_listen`).
    Channels,
    /// The end of a command of the console's that takes time.
    Command,
    /// What its login needs first: its user's secret, keys made of one, or a place.
    Login,
    /// The answers to the SETs by which its server gets its parameters.
    Parameters,
    /// Whether its server's session holds locks, which decides whether it keeps the server; or that
    /// what it has left there is undone.
    Probe,
    /// The end of a query that failed, and is sent once more.
    Repeat,
    /// A reply: as many requests are under way as may be.
    Replies,
    /// A server; whether it was told that it waits (query_wait_notify).
    Server { is_told: bool },
    /// The end of an earlier query, which decides what a name stands for.
    Undecided,
    /// What the first server of its pool reports.
    Welcome,
}

/// What the relay does with a message of a server's. What its client hears before it the judge has
/// written already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerVerdict {
    /// As it is.
    Forward(ClientId),
    /// Not at all.
    Drop,
    /// So many bytes of the body must be there first.
    Need(usize),
    /// The connection is being closed; what follows is of no interest.
    Closed,
}
