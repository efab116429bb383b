//! Prepared statements as data: texts, the names that clients have for them, and what servers hold.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use super::deallocate;
use super::held::ServerStatements;
use super::names::StatementNames;
use super::scan;
use super::traces::Effects;
use crate::base::arena::{Arena, Record};
use crate::pool::ids::{StatementId, StatementKind};
use crate::wire::fields::up_to_nul;

/// One text with its parameter types.
pub struct Statement {
    /// The body of its Parse: name on servers, NUL, and the text (query, NUL, count and types of
    /// parameters).
    body: Box<[u8]>,
    hash: u64,
    /// Where the NUL stands that ends the name.
    name_end: u8,
    terms: Terms,
    /// A hash of the parameters' types, when a server has told them; else 0.
    types: u64,
    /// How many names of clients hold it, including those that an error would bring back.
    clients: u32,
    /// Whether running it decides what the messages after it mean.
    pub(in crate::pool) is_decisive: bool,
    /// What it may do to the session; found out when first asked for.
    effects: Option<Effects>,
    /// How many servers hold it.
    servers: u32,
}

/// What decides on the meaning of a statement besides its text: the same text under other terms is
/// another statement.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Terms {
    /// A hash of the settings by which constants are read.
    pub settings: u64,
    /// The generation of the database's tables and types, see [`StatementTable::begin_generation`].
    pub generation: u64,
}

/// All statements that a client or a server holds. A text is stored once, however many use it,
/// except by those that still use a statement that [`StatementTable::renew`] has put aside.
#[derive(Default)]
pub struct StatementTable {
    pub(in crate::pool) statements: Arena<Statement>,
    /// By the hash of terms and text, which must be compared. Of two texts with one hash the
    /// younger is here; the other is not shared any more.
    shared: HashMap<u64, StatementId>,
    hasher: RandomState,
    /// The number in the last name on servers. No number is used again.
    last_number: u64,
    text_bytes: usize,
    /// Of `text_bytes`, those of texts that no client holds.
    idle_bytes: usize,
    /// Bytes of all names that clients have.
    name_bytes: usize,
    /// The generations of databases whose tables or types have changed, by the database's name on
    /// its servers.
    generations: HashMap<Box<str>, u64>,
    last_generation: u64,
    /// Statements that servers were told to forget, since they had as many as they may.
    pub evictions: u64,
}

/// The most bytes of texts that no client holds, which are kept for later clients.
const MOST_IDLE_BYTES: usize = 32 << 20;

/// Changes for which room is kept when none is under way.
const KEPT_CHANGES: usize = 16;

/// The statements of one client, and the changes whose reply has not come.
#[derive(Debug, Default)]
pub struct ClientStatements {
    pub(in crate::pool) names: StatementNames,
    pub(in crate::pool) journal: VecDeque<NameChange>,
    /// The unnamed statement, where it was prepared and not bound.
    pub(in crate::pool) unnamed: Option<StatementId>,
    /// Bytes of the names, and of the texts behind them.
    held_bytes: usize,
}

/// A change of a client's names that a skipped message would undo.
#[derive(Debug)]
pub(in crate::pool) struct NameChange {
    /// The Sync that decides on it (see [`crate::pool::owed::replies::Replies::segment`]).
    pub(in crate::pool) segment: u32,
    /// The hash of the name: names may be long, and much alike.
    hash: u64,
    pub(in crate::pool) name: Box<[u8]>,
    pub(in crate::pool) before: Option<StatementId>,
}

impl Record for Statement {
    type Kind = StatementKind;
}

impl Statement {
    /// The name on servers.
    #[inline(always)]
    pub(in crate::pool) fn name(&self) -> &[u8] {
        &self.body[..usize::from(self.name_end)]
    }

    pub(in crate::pool) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Everything after the name in its Parse.
    pub(in crate::pool) fn text(&self) -> &[u8] {
        &self.body[usize::from(self.name_end) + 1..]
    }

    /// The SQL in that text.
    pub(in crate::pool) fn sql(&self) -> &[u8] {
        up_to_nul(self.text())
    }
}

impl StatementTable {
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Bytes of the names that clients have, and of the texts behind them.
    pub fn client_bytes(&self) -> usize {
        self.text_bytes - self.idle_bytes + self.name_bytes
    }

    /// Bytes of all texts, for SHOW MEM.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The id of a text under its terms. One more client holds it from now on.
    pub(in crate::pool) fn hold(&mut self, text: &[u8], terms: Terms) -> StatementId {
        let hash = self.hasher.hash_one((terms, text));
        if let Some(id) = self.find(hash, text, terms) {
            self.hold_again(id);
            return id;
        }
        self.last_number += 1;
        let name = format!("PGBOUNCER_{}\0", self.last_number);
        let body = [name.as_bytes(), text].concat().into_boxed_slice();
        let name_end = name.len() as u8 - 1;
        self.text_bytes += body.len();
        let is_decisive = deallocate::is_decisive(text);
        let (types, clients, servers) = (0, 1, 0);
        let effects = None;
        let statement = Statement {
            body,
            hash,
            name_end,
            terms,
            types,
            clients,
            is_decisive,
            effects,
            servers,
        };
        let id = self.statements.insert(statement);
        self.shared.insert(hash, id);
        id
    }

    fn find(&self, hash: u64, text: &[u8], terms: Terms) -> Option<StatementId> {
        let id = *self.shared.get(&hash)?;
        let known = &self.statements[id];
        (known.terms == terms && known.text() == text).then_some(id)
    }

    /// Whether a client has a text already, under its terms.
    pub(in crate::pool) fn is_used(&self, text: &[u8], terms: Terms) -> bool {
        let found = self.find(self.hasher.hash_one((terms, text)), text, terms);
        found.is_some_and(|id| self.statements[id].clients > 0)
    }

    /// Notes that tables or types of a database have changed: texts that come from now on do not
    /// share statements that were made before.
    pub(in crate::pool) fn begin_generation(&mut self, database: &str) {
        self.last_generation += 1;
        match self.generations.get_mut(database) {
            Some(generation) => *generation = self.last_generation,
            None => drop(self.generations.insert(database.into(), self.last_generation)),
        }
    }

    /// The terms of a text that comes now. `settings` are those by which constants are read.
    pub(in crate::pool) fn terms<'a>(
        &self,
        settings: impl Iterator<Item = (usize, &'a [u8])>,
        database: &str,
    ) -> Terms {
        let mut hasher = self.hasher.build_hasher();
        settings.for_each(|value| value.hash(&mut hasher));
        let generation = self.generations.get(database).copied().unwrap_or_default();
        Terms { settings: hasher.finish(), generation }
    }

    pub(in crate::pool) fn is_decisive(&self, id: StatementId) -> bool {
        self.statements[id].is_decisive
    }

    /// What a statement may do to the session of its server when it is run.
    pub(in crate::pool) fn effects(&mut self, id: StatementId) -> Effects {
        let statement = &mut self.statements[id];
        if let Some(effects) = statement.effects {
            return effects;
        }
        let effects = scan::read(statement.sql());
        statement.effects = Some(effects);
        effects
    }

    pub(in crate::pool) fn terms_of(&self, id: StatementId) -> Terms {
        self.statements[id].terms
    }

    /// Notes the types of a statement's parameters, as a server has told them. If they are others
    /// than before, the meaning of the statement's text has changed.
    pub(in crate::pool) fn compare_types(&mut self, id: StatementId, types: &[u8]) {
        // 0 means that the types are not known.
        let types = self.hasher.hash_one(types) | 1;
        let Some(statement) = self.statements.get_mut(id) else { return };
        let before = std::mem::replace(&mut statement.types, types);
        if before != 0 && before != types {
            self.put_aside(id);
        }
    }

    /// Makes another statement with the text of this one, with one more holder, since servers have
    /// this one prepared for tables that have changed since. A Parse of the text gets the new one
    /// from now on.
    pub(in crate::pool) fn renew(&mut self, id: StatementId) -> Option<StatementId> {
        let statement = self.statements.get(id)?;
        let (text, terms) = (statement.text().to_vec(), statement.terms);
        self.put_aside(id);
        Some(self.hold(&text, terms))
    }

    /// The statement of the same text under other terms, with one more holder.
    pub(in crate::pool) fn same_under(&mut self, id: StatementId, terms: Terms) -> StatementId {
        let text = self.statements[id].text().to_vec();
        self.hold(&text, terms)
    }

    /// Ends the sharing of a statement: the next Parse of its text makes a new one.
    pub(in crate::pool) fn put_aside(&mut self, id: StatementId) {
        let Some(statement) = self.statements.get(id) else { return };
        let hash = statement.hash;
        if self.shared.get(&hash) == Some(&id) {
            self.shared.remove(&hash);
        }
    }

    pub(in crate::pool) fn hold_again(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        if statement.clients == 0 {
            self.idle_bytes -= statement.body.len();
        }
        statement.clients += 1;
    }

    pub(in crate::pool) fn release(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        statement.clients -= 1;
        if statement.clients > 0 {
            return;
        }
        self.idle_bytes += statement.body.len();
        if statement.servers == 0 {
            self.remove(id);
        } else if self.idle_bytes > MOST_IDLE_BYTES {
            self.forget_idle_texts();
        }
    }

    /// Notes that one more server holds the statement.
    pub(in crate::pool) fn server_holds(&mut self, id: StatementId) {
        self.statements[id].servers += 1;
    }

    pub(in crate::pool) fn server_releases(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        statement.servers -= 1;
        if statement.servers == 0 && statement.clients == 0 {
            self.remove(id);
        }
    }

    /// Removes a statement that nobody holds.
    fn remove(&mut self, id: StatementId) {
        self.put_aside(id);
        if let Some(statement) = self.statements.remove(id) {
            self.text_bytes -= statement.body.len();
            self.idle_bytes -= statement.body.len();
        }
    }

    /// Drops the texts that no client holds. Servers keep the names, to close the statements.
    fn forget_idle_texts(&mut self) {
        for id in self.statements.ids() {
            let statement = &mut self.statements[id];
            if statement.clients > 0 {
                continue;
            }
            let before = statement.body.len();
            statement.body = statement.body[..=usize::from(statement.name_end)].into();
            let dropped = before - statement.body.len();
            self.text_bytes -= dropped;
            self.idle_bytes -= dropped;
            self.put_aside(id);
        }
    }

    pub(in crate::pool) fn forget_client(&mut self, statements: ClientStatements) {
        self.name_bytes -= statements.names.text_bytes();
        for id in statements.names.into_ids() {
            self.release(id);
        }
        for change in &statements.journal {
            self.name_bytes -= change.before.map_or(0, |_| change.name.len());
        }
        let undone = statements.journal.into_iter().filter_map(|change| change.before);
        for id in undone.chain(statements.unnamed) {
            self.release(id);
        }
    }

    pub(in crate::pool) fn forget_server(&mut self, statements: ServerStatements) {
        for id in statements.held.into_keys() {
            self.server_releases(id);
        }
    }

    /// How many bytes a client's name for a statement counts.
    fn cost(&self, name: &[u8], id: StatementId) -> usize {
        name.len() + self.statements[id].text().len()
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

    /// A name that the client has for a statement.
    pub(in crate::pool) fn name_of(&self, id: StatementId) -> Option<&[u8]> {
        self.names.name_of(id)
    }

    /// Bytes of the names and of the texts behind them.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Lets all names of one statement stand for another of the same text, including those that an
    /// error would bring back. The holds move with the names.
    pub(in crate::pool) fn rename(
        &mut self,
        table: &mut StatementTable,
        before: StatementId,
        after: StatementId,
    ) {
        let changes = self.journal.iter_mut().filter(|change| change.before == Some(before));
        let count = changes.map(|change| change.before = Some(after)).count();
        for _ in 0..count + self.names.rename(before, after) {
            table.hold_again(after);
            table.release(before);
        }
    }

    /// Makes the oldest change final.
    pub(in crate::pool) fn keep_oldest_change(&mut self, table: &mut StatementTable) {
        let Some(change) = self.journal.pop_front() else { return };
        if let Some(before) = change.before {
            self.let_go(table, &change.name, before);
        }
        if self.journal.is_empty() && self.journal.capacity() > KEPT_CHANGES {
            self.journal = VecDeque::new();
        }
    }

    /// Whether a change of a name still waits for a Sync other than that of `segment`.
    #[inline(always)]
    pub(in crate::pool) fn is_undecided(
        &self,
        table: &StatementTable,
        name: &[u8],
        segment: u32,
    ) -> bool {
        !self.journal.is_empty() && self.was_changed(table, name, segment)
    }

    fn was_changed(&self, table: &StatementTable, name: &[u8], segment: u32) -> bool {
        let hash = table.hasher.hash_one(name);
        let is_it = |change: &NameChange| change.hash == hash && *change.name == *name;
        self.journal.iter().any(|change| change.segment != segment && is_it(change))
    }

    /// Binds a name anew, to a statement that is held for it, or takes it away. The journal keeps
    /// what was before, with its hold.
    pub(in crate::pool) fn change(
        &mut self,
        table: &mut StatementTable,
        name: &[u8],
        after: Option<StatementId>,
        segment: u32,
    ) {
        let before = match after {
            Some(id) => {
                self.held_bytes += table.cost(name, id);
                table.name_bytes += name.len();
                self.names.insert(name, id)
            }
            None => self.names.remove(name),
        };
        let hash = table.hasher.hash_one(name);
        self.journal.push_back(NameChange { segment, hash, name: name.into(), before });
    }

    /// Undoes the oldest `count` changes of names, the newest of them first. Names with an
    /// undecided change are not changed again, so none of them has a younger change.
    pub(in crate::pool) fn undo(&mut self, table: &mut StatementTable, count: usize) {
        let count = count.min(self.journal.len());
        let undone: Vec<NameChange> = self.journal.drain(..count).collect();
        for change in undone.into_iter().rev() {
            let after = match change.before {
                Some(before) => self.names.insert(&change.name, before),
                None => self.names.remove(&change.name),
            };
            if let Some(after) = after {
                self.let_go(table, &change.name, after);
            }
        }
    }

    /// Takes a name away at once.
    pub(in crate::pool) fn remove(&mut self, table: &mut StatementTable, name: &[u8]) {
        if let Some(id) = self.names.remove(name) {
            self.let_go(table, name, id);
        }
    }

    /// Drops all names but those that requests under way give: such requests come after the one
    /// that dropped the others.
    pub(in crate::pool) fn forget_settled(&mut self, table: &mut StatementTable) {
        let mut dropped = Vec::new();
        let mut under_way = HashSet::new();
        for change in &mut self.journal {
            // The statement before the first change of a name is dropped; that before a later
            // change is the statement of a request under way.
            if under_way.insert(&*change.name)
                && let Some(id) = change.before.take()
            {
                dropped.push((change.name.clone(), id));
            }
        }
        self.names.retain(|name| under_way.contains(name), |name, id| dropped.push((name, id)));
        for (name, id) in dropped {
            self.let_go(table, &name, id);
        }
    }

    /// Keeps another unnamed statement, which the caller has held for it, or none.
    pub(in crate::pool) fn keep_unnamed(
        &mut self,
        table: &mut StatementTable,
        after: Option<StatementId>,
    ) {
        self.held_bytes += after.map_or(0, |id| table.cost(b"", id));
        if let Some(before) = std::mem::replace(&mut self.unnamed, after) {
            self.let_go(table, b"", before);
        }
    }

    /// Notes that a name no longer stands for a statement.
    fn let_go(&mut self, table: &mut StatementTable, name: &[u8], id: StatementId) {
        self.held_bytes -= table.cost(name, id);
        table.name_bytes -= name.len();
        table.release(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { settings: 0, generation: 0 };

    #[test]
    fn one_text_under_other_terms_is_another_statement() {
        let mut table = StatementTable::default();
        let first = table.hold(b"text", TERMS);
        assert_eq!(table.hold(b"text", TERMS), first);
        assert_ne!(table.hold(b"text", Terms { settings: 1, ..TERMS }), first);
        assert_ne!(table.hold(b"text", Terms { generation: 1, ..TERMS }), first);
        let settings = |value: &'static str| [(1, value.as_bytes())].into_iter();
        let before = table.terms(settings("a"), "db");
        assert_eq!(table.terms(settings("a"), "db"), before);
        assert_ne!(table.terms(settings("b"), "db"), before);
        assert_ne!(table.terms([(2, &b"a"[..])].into_iter(), "db"), before);
        table.begin_generation("other");
        assert_eq!(table.terms(settings("a"), "db"), before);
        table.begin_generation("db");
        assert_ne!(table.terms(settings("a"), "db"), before);
    }

    #[test]
    fn a_statement_whose_types_have_changed_is_not_shared_any_more() {
        let mut table = StatementTable::default();
        let first = table.hold(b"text", TERMS);
        table.compare_types(first, b"int");
        table.compare_types(first, b"int");
        assert_eq!(table.hold(b"text", TERMS), first);
        table.compare_types(first, b"text");
        assert_ne!(table.hold(b"text", TERMS), first);
    }

    /// What clients hold is counted, and what is left of it when they are gone is bounded.
    #[test]
    fn bytes_are_counted_while_somebody_holds_them() {
        let mut table = StatementTable::default();
        let mut client = ClientStatements::default();
        let text = vec![b'x'; MOST_IDLE_BYTES / 4];
        for number in 0..8u8 {
            let id = table.hold(&[&text[..], &[number]].concat(), TERMS);
            table.server_holds(id);
            client.change(&mut table, &[b'n', number], Some(id), 0);
        }
        assert_eq!(client.held_bytes(), 8 * (text.len() + 1 + 2));
        assert!(table.client_bytes() > client.held_bytes());
        client.undo(&mut table, 2);
        (0..6).for_each(|_| client.keep_oldest_change(&mut table));
        assert_eq!(client.held_bytes(), 6 * (text.len() + 1 + 2));
        for number in 2..8u8 {
            client.change(&mut table, &[b'n', number], None, 1);
        }
        assert_eq!(client.held_bytes(), 6 * (text.len() + 1 + 2), "they may come back");
        (0..6).for_each(|_| client.keep_oldest_change(&mut table));
        assert_eq!((client.held_bytes(), table.client_bytes()), (0, 0));
        assert!(table.text_bytes() <= MOST_IDLE_BYTES + 8 * 20);
        assert_eq!(table.len(), 8, "servers have them yet");
        for id in table.statements.ids() {
            table.server_releases(id);
        }
        assert_eq!((table.len(), table.text_bytes()), (0, 0));
    }
}
