// SPDX-License-Identifier: GPL-2.0

//! Maps from numbers, in order: the kernel's red-black tree, as [`cache`](super::cache) uses it.
//! (The host's unit tests of that have another one of these.)

use kernel::{
    alloc::flags::__GFP_NOWARN,
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
};

/// A map from numbers.
pub(super) struct Map<V>(RBTree<u64, V>);

/// Memory for one more entry.
pub(super) struct Spare<V>(RBTreeNodeReservation<u64, V>);

impl<V> Spare<V> {
    /// Nothing if there is no memory.
    pub(super) fn new() -> Option<Self> {
        RBTreeNodeReservation::new(GFP_KERNEL | __GFP_NOWARN)
            .ok()
            .map(Self)
    }
}

impl<V> Map<V> {
    pub(super) fn new() -> Self {
        Self(RBTree::new())
    }

    /// Adds an entry, in the place of what was there.
    pub(super) fn insert(&mut self, spare: Spare<V>, key: u64, value: V) {
        self.0.insert(spare.0.into_node(key, value));
    }

    pub(super) fn get(&self, key: u64) -> Option<&V> {
        self.0.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.0.get_mut(&key)
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        self.0.remove(&key)
    }

    /// What `look` sees of the first entry from `key` on.
    pub(super) fn from<R>(&self, key: u64, look: impl FnOnce(u64, &V) -> R) -> Option<R> {
        let cursor = self.0.cursor_lower_bound(&key)?;
        let (key, value) = cursor.current();

        Some(look(*key, value))
    }

    /// What `look` sees of the last entry before `key`.
    pub(super) fn before<R>(&self, key: u64, look: impl FnOnce(u64, &V) -> R) -> Option<R> {
        match self.0.cursor_lower_bound(&key) {
            Some(cursor) => cursor.peek_prev().map(|(key, value)| look(*key, value)),
            None => self.0.cursor_back().map(|cursor| {
                let (key, value) = cursor.current();

                look(*key, value)
            }),
        }
    }
}
