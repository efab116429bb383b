//! What the judges of messages say, and why a message must wait.

use crate::pool::ids::{ClientId, ServerId};

/// What the relay does with a message. Bytes in [`Core::back`] go to the client in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<To> {
    /// As it is.
    Forward(To),
    /// [`Core::splice`] in place of the first `taken` bytes (the head counts), then the rest.
    Replace { to: To, taken: usize },
    /// Not at all; [`Core::splice`] in its place, where there is any.
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
    /// The end of a command of the console's that takes time.
    Command,
    /// What its login needs first: its user's secret, keys made of one, or a place.
    Login,
    /// The answers to the SETs by which its server gets its parameters.
    Parameters,
    /// The end of a query that failed, and is sent once more.
    Repeat,
    /// A reply: as many requests are under way as may be.
    Replies,
    /// A server; whether it was told that it waits (query_wait_notify).
    Server { is_told: bool },
    /// The end of an earlier query, which decides what a name stands for.
    Settling,
    /// What the first server of its pool reports.
    Welcome,
}

/// Messages to a server go to that server, messages of a server to its client.
pub type ClientVerdict = Verdict<ServerId>;
pub type ServerVerdict = Verdict<ClientId>;
