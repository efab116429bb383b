//! The COPY that a server carries out.

/// Which COPY is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Copy {
    #[default]
    None,
    /// The server takes data. It skips Sync and Flush until CopyDone or CopyFail has `ended` the
    /// data.
    In {
        ended: bool,
    },
    Out,
    /// Both ends send data. The server takes data until the client has `ended` its half.
    Both {
        ended: bool,
    },
}
