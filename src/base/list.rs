//! Doubly linked lists threaded through an arena.
//!
//! A record carries its [`Links`] and is in at most one list of its kind, so that moving it costs
//! no memory and no search. The list knows its length: counters in SHOW tables are list lengths.

use super::arena::{Arena, Id, Record};

/// A record's place in the list that holds it.
pub struct Links<T> {
    prev: Option<Id<T>>,
    next: Option<Id<T>>,
}

impl<T> Default for Links<T> {
    fn default() -> Self {
        Links { prev: None, next: None }
    }
}

/// A record that can be threaded into a list.
pub trait Linked: Record {
    fn links(&self) -> &Links<Self::Kind>;
    fn links_mut(&mut self) -> &mut Links<Self::Kind>;
}

/// Head, tail and length; the links between are in the records.
pub struct List<T: Record> {
    head: Option<Id<T::Kind>>,
    tail: Option<Id<T::Kind>>,
    len: usize,
}

impl<T: Record> Default for List<T> {
    fn default() -> Self {
        List { head: None, tail: None, len: 0 }
    }
}

impl<T: Linked> List<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first(&self) -> Option<Id<T::Kind>> {
        self.head
    }

    pub fn last(&self) -> Option<Id<T::Kind>> {
        self.tail
    }

    #[inline]
    pub fn push_back(&mut self, arena: &mut Arena<T>, id: Id<T::Kind>) {
        *arena[id].links_mut() = self.open_back(arena, id);
    }

    /// Takes `id` out. It must be in this list, not merely in some list.
    #[inline]
    pub fn remove(&mut self, arena: &mut Arena<T>, id: Id<T::Kind>) {
        let links = std::mem::take(arena[id].links_mut());
        debug_assert!(links.prev.is_some() || self.head == Some(id));
        debug_assert!(links.next.is_some() || self.tail == Some(id));
        self.close(arena, links);
    }

    /// Adds `id` at the end, and gives the links that its record must carry from now on. For
    /// callers that have the record at hand anyway, like [`List::open_front`] and [`List::close`].
    #[inline(always)]
    pub fn open_back(&mut self, arena: &mut Arena<T>, id: Id<T::Kind>) -> Links<T::Kind> {
        let links = Links { prev: self.tail, next: None };
        match self.tail {
            Some(tail) => arena[tail].links_mut().next = Some(id),
            None => self.head = Some(id),
        }
        self.tail = Some(id);
        self.len += 1;
        links
    }

    /// Adds `id` at the beginning, and gives the links that its record must carry from now on.
    #[inline(always)]
    pub fn open_front(&mut self, arena: &mut Arena<T>, id: Id<T::Kind>) -> Links<T::Kind> {
        let links = Links { prev: None, next: self.head };
        match self.head {
            Some(head) => arena[head].links_mut().prev = Some(id),
            None => self.tail = Some(id),
        }
        self.head = Some(id);
        self.len += 1;
        links
    }

    /// Takes out the record that carries these links.
    #[inline(always)]
    pub fn close(&mut self, arena: &mut Arena<T>, links: Links<T::Kind>) {
        let Links { prev, next } = links;
        match prev {
            Some(prev) => arena[prev].links_mut().next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => arena[next].links_mut().prev = prev,
            None => self.tail = prev,
        }
        self.len -= 1;
    }

    /// From the head to the tail.
    pub fn iter<'a>(&self, arena: &'a Arena<T>) -> impl Iterator<Item = Id<T::Kind>> + use<'a, T> {
        let mut next = self.head;
        std::iter::from_fn(move || {
            let id = next?;
            next = arena[id].links().next;
            Some(id)
        })
    }

    pub fn ids(&self, arena: &Arena<T>) -> Vec<Id<T::Kind>> {
        self.iter(arena).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Node {
        links: Links<Node>,
    }
    impl Record for Node {
        type Kind = Node;
    }
    impl Linked for Node {
        fn links(&self) -> &Links<Node> {
            &self.links
        }
        fn links_mut(&mut self) -> &mut Links<Node> {
            &mut self.links
        }
    }

    #[test]
    fn removal_keeps_order_at_both_ends_and_in_the_middle() {
        let mut arena = Arena::new();
        let ids: Vec<_> = (0..5).map(|_| arena.insert(Node::default())).collect();
        let mut list = List::default();
        for &id in &ids[1..] {
            list.push_back(&mut arena, id);
        }
        *arena[ids[0]].links_mut() = list.open_front(&mut arena, ids[0]);
        assert_eq!(list.ids(&arena), ids);
        for gone in [ids[2], ids[0], ids[4]] {
            list.remove(&mut arena, gone);
        }
        assert_eq!(list.ids(&arena), [ids[1], ids[3]]);
        assert_eq!((list.first(), list.last(), list.len()), (Some(ids[1]), Some(ids[3]), 2));
    }
}
