//! Prepared statements as data: texts, the names that clients have for them, and what servers hold.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::ids::{StatementId, StatementKind};
use crate::base::arena::{Arena, Record};

/// One text with its parameter types.
pub struct Statement {
    /// The body of a Parse behind the name: query, NUL, count and types of parameters.
    pub(super) text: Box<[u8]>,
    pub(super) hash: u64,
    /// The number in its name on servers; never used again.
    pub(super) number: u64,
    /// Clients' names and servers that hold it.
    pub(super) holders: u32,
}

/// All statements that somebody holds. A text is stored once.
#[derive(Default)]
pub struct StatementTable {
    pub(super) statements: Arena<Statement>,
    by_hash: HashMap<u64, Vec<StatementId>>,
    hasher: RandomState,
    last_number: u64,
    text_bytes: usize,
}

/// The statements of one client, and the changes whose reply has not come.
#[derive(Debug, Default)]
pub struct ClientStatements {
    pub(super) names: HashMap<Box<[u8]>, StatementId>,
    pub(super) journal: VecDeque<Change>,
}

/// A change of a client's names that a skipped message would undo.
#[derive(Debug)]
pub(super) struct Change {
    /// The Sync that decides on it (see [`super::replies::Replies::segment`]).
    pub(super) segment: u32,
    pub(super) name: Box<[u8]>,
    pub(super) before: Option<StatementId>,
}

/// The statements of one server.
#[derive(Debug, Default)]
pub struct ServerStatements {
    pub(super) held: HashMap<StatementId, Held>,
    /// Counts uses, to find the one that was not used for longest.
    pub(super) clock: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) used: u64,
    /// The segment whose Sync decides whether it is there; `None` when it is known to be.
    pub(super) pending: Option<u32>,
}

impl Record for Statement {
    type Kind = StatementKind;
}

impl StatementTable {
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Bytes of all texts, for SHOW MEM.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The id of a text, with one more holder.
    pub(super) fn hold(&mut self, text: &[u8]) -> StatementId {
        let hash = self.hasher.hash_one(text);
        let same = self.by_hash.entry(hash).or_default();
        if let Some(&id) = same.iter().find(|&&id| *self.statements[id].text == *text) {
            self.statements[id].holders += 1;
            return id;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.text_bytes += text.len();
        let id = self.statements.insert(Statement { text: text.into(), hash, number, holders: 1 });
        same.push(id);
        id
    }

    pub(super) fn hold_again(&mut self, id: StatementId) {
        self.statements[id].holders += 1;
    }

    pub(super) fn release(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        statement.holders -= 1;
        if statement.holders > 0 {
            return;
        }
        self.text_bytes -= statement.text.len();
        let hash = statement.hash;
        self.statements.remove(id);
        if let Some(same) = self.by_hash.get_mut(&hash) {
            same.retain(|&other| other != id);
            if same.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }

    /// The name on servers.
    pub(super) fn name(&self, id: StatementId) -> String {
        format!("PGBOUNCER_{}", self.statements[id].number)
    }

    pub(super) fn forget_client(&mut self, statements: ClientStatements) {
        for id in statements.names.into_values() {
            self.release(id);
        }
        for id in statements.journal.into_iter().filter_map(|change| change.before) {
            self.release(id);
        }
    }

    pub(super) fn forget_server(&mut self, statements: ServerStatements) {
        for id in statements.held.into_keys() {
            self.release(id);
        }
    }
}

impl ClientStatements {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether what has become of a name is decided by a Sync before `segment`.
    pub(super) fn is_undecided(&self, name: &[u8], segment: u32) -> bool {
        self.journal.iter().any(|change| change.segment != segment && *change.name == *name)
    }

    /// Binds a name anew, or takes it away. The journal keeps what was before, with its hold.
    pub(super) fn change(&mut self, name: &[u8], after: Option<StatementId>, segment: u32) {
        let before = match after {
            Some(id) => self.names.insert(name.into(), id),
            None => self.names.remove(name),
        };
        self.journal.push_back(Change { segment, name: name.into(), before });
    }

    /// Drops all names but those that requests under way give: they come behind whatever dropped
    /// the others. Returns what was held.
    pub(super) fn forget_settled(&mut self) -> Vec<StatementId> {
        let mut dropped = Vec::new();
        let mut under_way = HashSet::new();
        for change in &mut self.journal {
            // What the first change of a name found is gone; a later one found a change's.
            if under_way.insert(&*change.name) {
                dropped.extend(change.before.take());
            }
        }
        self.names.retain(|name, id| {
            let stays = under_way.contains(&**name);
            if !stays {
                dropped.push(*id);
            }
            stays
        });
        dropped
    }
}

impl ServerStatements {
    /// Drops all statements but those that requests under way prepare. Returns what was held.
    pub(super) fn forget_settled(&mut self) -> Vec<StatementId> {
        let is_settled = |held: &Held| held.pending.is_none();
        let settled = self.held.iter().filter(|(_, held)| is_settled(held)).map(|(&id, _)| id);
        let dropped = settled.collect();
        self.held.retain(|_, held| !is_settled(held));
        dropped
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn oldest(&self) -> Option<StatementId> {
        let decided = self.held.iter().filter(|(_, held)| held.pending.is_none());
        decided.min_by_key(|(id, held)| (held.used, id.to_bits())).map(|(&id, _)| id)
    }
}
