//! The verdicts of the judges, and the reasons why a message must wait.

use crate::pool::ids::{ClientId, ServerId};

/// What the relay does with a message of a client. The judge has already written what goes before
/// it into `Said`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Passes the message on unchanged.
    Forward(ServerId),
    /// Sends what the judge has written instead of the first `taken` bytes, the head among them;
    /// the rest of the message follows.
    Replace { to: ServerId, taken: usize },
    /// Passes nothing on; what the judge has written takes its place.
    Drop,
    /// Reads until this many bytes of the body are there.
    Need(usize),
    /// Judges the message later: the client is not read until the hold ends.
    Hold(Hold),
    /// Gives the whole message to the console.
    Console,
    /// The connection is being closed; further bytes are ignored.
    Closed,
}

/// What a client waits for before more of its messages are judged. Every hold is sure to end.
/// `core::hold` defines by which event, and lets the client go on then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// The answers to everything that was sent, since the meaning of the message depends on them.
    Answers,
    /// The answers that decide what later messages mean (see `bar`).
    Bar,
    /// The answer that shows whether a failed COPY has eaten Syncs.
    Doubt,
    /// That the shared connection listens to the client's channels (`shared_listen`).
    Channels,
    /// The end of a console command that takes time.
    Command,
    /// What the login needs first: the user's secret, keys derived from a password, or a place.
    Login,
    /// The answers to the SETs that give the server the client's parameters.
    Parameters,
    /// Whether the session of the server holds advisory locks, which decides whether the client
    /// keeps the server; or the undoing of what the client has left there.
    Probe,
    /// The end of a query that failed and is sent again.
    Repeat,
    /// A reply, since the most requests are under way that may be.
    Replies,
    /// A server; `is_told` if the client was told that it waits (query_wait_notify).
    Server { is_told: bool },
    /// The end of an earlier query, which decides what a statement's name stands for.
    Undecided,
    /// The parameters that the first server of the pool reports.
    Welcome,
}

/// What the relay does with a message of a server. The judge has already written what the client
/// gets before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerVerdict {
    /// Passes the message on unchanged.
    Forward(ClientId),
    /// Passes nothing on.
    Drop,
    /// Reads until this many bytes of the body are there.
    Need(usize),
    /// The connection is being closed; further bytes are ignored.
    Closed,
}
