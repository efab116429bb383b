//! What prepared statements may take of memory: so many names for each client, so many bytes of
//! names and texts for each client, and in all.

use super::prepare::ParseMessage;
use crate::pool::core::Core;
use crate::pool::ids::ClientId;
use crate::pool::owed::verdict::{ClientVerdict, Verdict};
use crate::pool::telling::reason::Reason;

impl Core {
    /// Refuses a Parse that must be kept until all of it has come, and is longer than what its
    /// client may have.
    pub(super) fn refuse_long(&mut self, id: ClientId, body: usize) -> Option<ClientVerdict> {
        let most = self.config.settings.max_client_prepared_bytes;
        is_beyond(body, most).then(|| self.refuse_client_bytes(id, most))
    }

    /// Refuses a Parse that has come, where its client or all clients have too much already.
    pub(super) fn refuse_more(
        &mut self,
        id: ClientId,
        parse: &ParseMessage<'_>,
    ) -> Option<ClientVerdict> {
        let settings = &self.config.settings;
        let most_names = settings.max_client_prepared_statements;
        let (most, most_in_all) = (settings.max_client_prepared_bytes, settings.max_prepared_bytes);
        let statements = self.clients[id].statements.as_ref()?;
        if statements.names.get(parse.name).is_some() {
            // It is there already, or the name is taken.
            return None;
        }
        if most_names > 0 && statements.len() >= most_names as usize {
            let detail = format!("max_client_prepared_statements is {most_names}.");
            self.close_client_with(id, Reason::StatementLimit, Some(&detail));
            return Some(Verdict::Closed);
        }
        let size = parse.name.len() + parse.text.len();
        if is_beyond(statements.held_bytes() + size, most) {
            return Some(self.refuse_client_bytes(id, most));
        }
        let terms = self.terms(id)?;
        let is_new = !self.statements.knows(parse.text, terms);
        let more = parse.name.len() + if is_new { parse.text.len() } else { 0 };
        if is_beyond(self.statements.bytes() + more, most_in_all) {
            let detail = format!("max_prepared_bytes is {most_in_all}.");
            self.close_client_with(id, Reason::StatementMemory, Some(&detail));
            return Some(Verdict::Closed);
        }
        None
    }

    fn refuse_client_bytes(&mut self, id: ClientId, most: u32) -> ClientVerdict {
        let detail = format!("max_client_prepared_bytes is {most}.");
        self.close_client_with(id, Reason::StatementBytes, Some(&detail));
        Verdict::Closed
    }
}

/// 0 is no limit.
fn is_beyond(bytes: usize, most: u32) -> bool {
    most > 0 && bytes > most as usize
}
