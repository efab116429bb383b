//! The statements that one server has.

use crate::base::id_map::IdMap;
use crate::pool::ids::{StatementId, StatementKind};

/// The most statements prepared since the last ReadyForQuery that are remembered.
const MOST_FRESH: usize = 4096;

/// The statements of one server.
#[derive(Debug, Default)]
pub struct ServerStatements {
    /// At most max_prepared_statements of them.
    pub(in crate::pool) held: IdMap<StatementKind, HeldStatement>,
    /// Prepared since the last ReadyForQuery.
    pub(in crate::pool) fresh: Vec<StatementId>,
    /// Counts uses, to find the statement that was not used for longest.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct HeldStatement {
    pub(in crate::pool) used: u64,
    /// The segment whose Sync decides whether the server has the statement; `None` when it is known
    /// to have it.
    pub(in crate::pool) pending: Option<u32>,
}

impl ServerStatements {
    /// Notes that a statement was prepared.
    pub(in crate::pool) fn note_fresh(&mut self, id: StatementId) {
        if self.fresh.len() < MOST_FRESH {
            self.fresh.push(id);
        }
    }

    /// Notes that a statement is used, if it is there.
    pub(in crate::pool) fn use_held(&mut self, id: StatementId) -> Option<HeldStatement> {
        let held = self.held.get_mut(&id)?;
        self.clock += 1;
        held.used = self.clock;
        Some(*held)
    }

    /// Notes a statement that is being prepared on the server; its Sync is that of `segment`.
    pub(in crate::pool) fn hold(&mut self, id: StatementId, segment: u32) {
        self.clock += 1;
        self.held.insert(id, HeldStatement { used: self.clock, pending: Some(segment) });
    }

    /// Drops all statements but those that requests under way prepare. Returns what was held.
    pub(in crate::pool) fn forget_settled(&mut self) -> Vec<StatementId> {
        let is_settled = |held: &HeldStatement| held.pending.is_none();
        let settled = self.held.iter().filter(|(_, held)| is_settled(held)).map(|(&id, _)| id);
        let dropped = settled.collect();
        self.held.retain(|_, held| !is_settled(held));
        dropped
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub(in crate::pool) fn oldest(&self) -> Option<StatementId> {
        let decided = self.held.iter().filter(|(_, held)| held.pending.is_none());
        decided.min_by_key(|(id, held)| (held.used, id.to_bits())).map(|(&id, _)| id)
    }
}
