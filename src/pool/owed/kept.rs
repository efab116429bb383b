//! What is kept of a query that may have to be sent again (see `prepared::repeat`).

/// The query that a client sent last, if it may have to be sent again.
#[derive(Debug, Default)]
pub struct KeptQuery {
    /// The messages of the query; empty when they need not be sent again. The memory is kept.
    pub(in crate::pool) bytes: Vec<u8>,
    /// Whether the query asks for the columns of its result.
    pub(in crate::pool) asks_columns: bool,
    /// How many requests were under way once the query was sent.
    pub(in crate::pool) requests: usize,
    /// A ParameterDescription that is held back until the next answer to the client.
    pub(in crate::pool) parameters: Vec<u8>,
}

impl KeptQuery {
    /// Drops what is held back: the client is gone.
    pub(in crate::pool) fn forget(&mut self) {
        self.bytes.clear();
        self.parameters.clear();
    }

    /// Whether nothing is held back.
    pub(in crate::pool) fn is_told(&self) -> bool {
        self.parameters.is_empty()
    }
}
