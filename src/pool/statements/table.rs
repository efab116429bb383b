//! Prepared statements as data: texts, the names that clients have for them, and what servers hold.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::names::Names;
use crate::base::arena::{Arena, Record};
use crate::pool::ids::{StatementId, StatementKind};

/// One text with its parameter types.
pub struct Statement {
    /// The body of its Parse: name on servers, NUL, and the text (query, NUL, count and types of
    /// parameters).
    body: Box<[u8]>,
    hash: u64,
    /// Where the NUL stands that ends the name.
    name_end: u8,
    /// Clients' names and servers that hold it.
    pub(in crate::pool) holders: u32,
}

/// All statements that somebody holds. A text is stored once, however many use it: those who still
/// use one that [`StatementTable::renew`] has put aside excepted.
#[derive(Default)]
pub struct StatementTable {
    pub(in crate::pool) statements: Arena<Statement>,
    /// By the hash of the text, which must be compared. Of two texts with one hash the younger is
    /// here; the other is not shared any more.
    shared: HashMap<u64, StatementId>,
    hasher: RandomState,
    /// The number in a name on servers is never used again.
    last_number: u64,
    text_bytes: usize,
}

/// Changes for which room is kept when none is under way.
const KEPT_CHANGES: usize = 16;

/// The statements of one client, and the changes whose reply has not come.
#[derive(Debug, Default)]
pub struct ClientStatements {
    pub(in crate::pool) names: Names,
    pub(in crate::pool) journal: VecDeque<Change>,
    /// The unnamed statement, where it was prepared and not bound.
    pub(in crate::pool) unnamed: Option<StatementId>,
}

/// A change of a client's names that a skipped message would undo.
#[derive(Debug)]
pub(in crate::pool) struct Change {
    /// The Sync that decides on it (see [`crate::pool::owed::replies::Replies::segment`]).
    pub(in crate::pool) segment: u32,
    pub(in crate::pool) name: Box<[u8]>,
    pub(in crate::pool) before: Option<StatementId>,
}

/// The statements of one server.
#[derive(Debug, Default)]
pub struct ServerStatements {
    pub(in crate::pool) held: HashMap<StatementId, Held>,
    /// Counts uses, to find the one that was not used for longest.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Held {
    pub(in crate::pool) used: u64,
    /// The segment whose Sync decides whether it is there; `None` when it is known to be.
    pub(in crate::pool) pending: Option<u32>,
}

impl Record for Statement {
    type Kind = StatementKind;
}

impl Statement {
    /// The name on servers.
    pub(in crate::pool) fn name(&self) -> &[u8] {
        &self.body[..usize::from(self.name_end)]
    }

    pub(in crate::pool) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Everything behind the name of its Parse.
    pub(in crate::pool) fn text(&self) -> &[u8] {
        &self.body[usize::from(self.name_end) + 1..]
    }
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
    pub(in crate::pool) fn hold(&mut self, text: &[u8]) -> StatementId {
        let hash = self.hasher.hash_one(text);
        if let Some(&id) = self.shared.get(&hash)
            && self.statements[id].text() == text
        {
            self.statements[id].holders += 1;
            return id;
        }
        self.last_number += 1;
        let name = format!("PGBOUNCER_{}\0", self.last_number);
        let body = [name.as_bytes(), text].concat().into_boxed_slice();
        let name_end = name.len() as u8 - 1;
        self.text_bytes += body.len();
        let id = self.statements.insert(Statement { body, hash, name_end, holders: 1 });
        self.shared.insert(hash, id);
        id
    }

    /// Another statement with the text of this one, with one more holder: servers have this one
    /// prepared for tables that have changed since. Whoever asks for the text from now on gets
    /// the new one.
    pub(in crate::pool) fn renew(&mut self, id: StatementId) -> Option<StatementId> {
        let text = self.statements.get(id)?.text().to_vec();
        self.put_aside(id);
        Some(self.hold(&text))
    }

    /// Lets nobody share a statement any more.
    fn put_aside(&mut self, id: StatementId) {
        let hash = self.statements[id].hash;
        if self.shared.get(&hash) == Some(&id) {
            self.shared.remove(&hash);
        }
    }

    pub(in crate::pool) fn is_same_text(&self, one: StatementId, other: StatementId) -> bool {
        one == other || self.statements[one].text() == self.statements[other].text()
    }

    pub(in crate::pool) fn hold_again(&mut self, id: StatementId) {
        self.statements[id].holders += 1;
    }

    pub(in crate::pool) fn release(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        statement.holders -= 1;
        if statement.holders > 0 {
            return;
        }
        self.text_bytes -= statement.body.len();
        self.put_aside(id);
        self.statements.remove(id);
    }

    pub(in crate::pool) fn forget_client(&mut self, statements: ClientStatements) {
        for id in statements.names.into_ids() {
            self.release(id);
        }
        let undone = statements.journal.into_iter().filter_map(|change| change.before);
        for id in undone.chain(statements.unnamed) {
            self.release(id);
        }
    }

    pub(in crate::pool) fn forget_server(&mut self, statements: ServerStatements) {
        for id in statements.held.into_keys() {
            self.release(id);
        }
    }
}

impl ClientStatements {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Bytes that the names take.
    pub fn bytes(&self) -> usize {
        self.names.bytes()
    }

    /// Lets all names of one statement stand for another, those too that an error would bring back.
    /// Returns how many they are.
    pub(in crate::pool) fn rename(&mut self, before: StatementId, after: StatementId) -> usize {
        let changes = self.journal.iter_mut().filter(|change| change.before == Some(before));
        let count = changes.map(|change| change.before = Some(after)).count();
        count + self.names.rename(before, after)
    }

    /// The oldest change stands. Returns what it had taken the place of.
    pub(in crate::pool) fn settle_oldest(&mut self) -> Option<StatementId> {
        let before = self.journal.pop_front().and_then(|change| change.before);
        if self.journal.is_empty() && self.journal.capacity() > KEPT_CHANGES {
            self.journal = VecDeque::new();
        }
        before
    }

    /// Whether what has become of a name is decided by a Sync before `segment`.
    pub(in crate::pool) fn is_undecided(&self, name: &[u8], segment: u32) -> bool {
        self.journal.iter().any(|change| change.segment != segment && *change.name == *name)
    }

    /// Binds a name anew, or takes it away. The journal keeps what was before, with its hold.
    pub(in crate::pool) fn change(
        &mut self,
        name: &[u8],
        after: Option<StatementId>,
        segment: u32,
    ) {
        let before = match after {
            Some(id) => self.names.insert(name, id),
            None => self.names.remove(name),
        };
        self.journal.push_back(Change { segment, name: name.into(), before });
    }

    /// Drops all names but those that requests under way give: they come behind whatever dropped
    /// the others. Returns what was held.
    pub(in crate::pool) fn forget_settled(&mut self) -> Vec<StatementId> {
        let mut dropped = Vec::new();
        let mut under_way = HashSet::new();
        for change in &mut self.journal {
            // What the first change of a name found is gone; a later one found a change's.
            if under_way.insert(&*change.name) {
                dropped.extend(change.before.take());
            }
        }
        self.names.retain(|name| under_way.contains(name), |id| dropped.push(id));
        dropped
    }
}

impl ServerStatements {
    /// Notes that a statement is used, if it is there.
    pub(in crate::pool) fn use_held(&mut self, id: StatementId) -> Option<Held> {
        let held = self.held.get_mut(&id)?;
        self.clock += 1;
        held.used = self.clock;
        Some(*held)
    }

    /// A statement that the server is being given; its Sync is that of `segment`.
    pub(in crate::pool) fn hold(&mut self, id: StatementId, segment: u32) {
        self.clock += 1;
        self.held.insert(id, Held { used: self.clock, pending: Some(segment) });
    }

    /// Drops all statements but those that requests under way prepare. Returns what was held.
    pub(in crate::pool) fn forget_settled(&mut self) -> Vec<StatementId> {
        let is_settled = |held: &Held| held.pending.is_none();
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
