//! Which way data flows at a server outside of queries.

/// Which COPY is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Copy {
    #[default]
    None,
    /// The server takes data; it skips Sync and Flush until `ended` by CopyDone or CopyFail.
    In {
        ended: bool,
    },
    Out,
    /// Both ends send; it takes data until the client has `ended` its half.
    Both {
        ended: bool,
    },
}
