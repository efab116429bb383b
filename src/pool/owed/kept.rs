//! What is kept of a query that may have to be sent once more (see `prepared::repeat`).

/// The query that a client has sent last, if it may have to be sent again.
#[derive(Debug, Default)]
pub struct KeptQuery {
    /// Its messages; empty when they need not be sent again. The room stays.
    pub(in crate::pool) bytes: Vec<u8>,
    /// It asks for the columns of its result.
    pub(in crate::pool) asks_columns: bool,
    /// Requests under way when it had been sent.
    pub(in crate::pool) requests: usize,
    /// A description of parameters that the client gets with the next answer.
    pub(in crate::pool) parameters: Vec<u8>,
}

impl KeptQuery {
    /// The client is gone: nobody waits for what was held back.
    pub(in crate::pool) fn forget(&mut self) {
        self.bytes.clear();
        self.parameters.clear();
    }

    /// Nothing is held back.
    pub(in crate::pool) fn is_told(&self) -> bool {
        self.parameters.is_empty()
    }
}
