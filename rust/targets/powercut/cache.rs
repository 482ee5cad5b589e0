// SPDX-License-Identifier: GPL-2.0

//! What a volatile write cache holds: the writes that are not yet on the medium, in the order in
//! which they came, and where the newest data of each sector are.
//!
//! Writes that overlap reach the medium in their order. Others may overtake each other.
//!
//! Free of kernel types but for [`Map`]: the host's unit tests include this file as it is.

use super::map::{Map, Spare};

/// A write that is not yet on the medium.
pub(crate) struct Write<D> {
    /// Its first sector.
    pub(crate) start: u64,
    /// How many sectors it has, at least one.
    pub(crate) len: u32,
    pub(crate) data: D,
    /// The memory that it takes.
    pub(crate) memory: u64,
}

impl<D> Write<D> {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.len.into())
    }

    /// Whether it has sectors from `start` to `end`.
    fn meets(&self, start: u64, end: u64) -> bool {
        self.start < end && start < self.end()
    }
}

/// Sectors whose newest data are in a write, from that of the key on.
#[derive(Clone, Copy)]
struct Extent {
    end: u64,
    number: u64,
}

/// Where the data of some sectors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// How many sectors.
    pub(crate) len: u64,
    /// The write that has them; if none, the medium.
    pub(crate) write: Option<u64>,
}

/// The writes by number, and the newest data by sector.
pub(crate) struct Cache<D> {
    writes: Map<Write<D>>,
    /// Extents do not overlap, and each lies within its write, which is there.
    newest: Map<Extent>,
    memory: u64,
}

impl<D> Cache<D> {
    pub(crate) fn new() -> Self {
        Self {
            writes: Map::new(),
            newest: Map::new(),
            memory: 0,
        }
    }

    /// The memory that all writes take.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// Adds a write, whose number is larger than those of all before it. Gives it back if there is
    /// no memory; nothing has changed then.
    pub(crate) fn add(&mut self, number: u64, write: Write<D>) -> Result<(), Write<D>> {
        let spares = (Spare::new(), Spare::new(), Spare::new());
        let (Some(entry), Some(extent), Some(rest)) = spares else {
            return Err(write);
        };
        let (start, end) = (write.start, write.end());

        self.memory = self.memory.saturating_add(write.memory);
        self.writes.insert(entry, number, write);
        self.cut_out(start, end, rest);
        self.newest.insert(extent, start, Extent { end, number });
        Ok(())
    }

    /// Forgets where the data of the sectors from `start` to `end` are.
    fn cut_out(&mut self, start: u64, end: u64, spare: Spare<Extent>) {
        let before = self.newest.before(start, |key, extent| (key, *extent));

        if let Some((key, extent)) = before.filter(|(_, extent)| extent.end > start) {
            if let Some(kept) = self.newest.get_mut(key) {
                kept.end = start;
            }
            if extent.end > end {
                // It was all within this one.
                return self.newest.insert(spare, end, extent);
            }
        }
        while let Some((key, extent)) = self
            .newest
            .from(start, |key, extent| (key, *extent))
            .filter(|(key, _)| *key < end)
        {
            self.newest.remove(key);
            if extent.end > end {
                return self.newest.insert(spare, end, extent);
            }
        }
    }

    /// Where the data from `sector` on are, and how many sectors they have in one place, at most
    /// `most`.
    pub(crate) fn piece(&self, sector: u64, most: u64) -> Piece {
        let here = self
            .newest
            .before(sector.saturating_add(1), |_, extent| *extent)
            .filter(|extent| extent.end > sector);

        match here {
            Some(extent) => Piece {
                len: (extent.end.saturating_sub(sector)).min(most),
                write: Some(extent.number),
            },
            None => {
                let next = self.newest.from(sector, |key, _| key).unwrap_or(u64::MAX);

                Piece {
                    len: next.saturating_sub(sector).min(most),
                    write: None,
                }
            }
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Write<D>> {
        self.writes.get(number)
    }

    /// The first write whose number is `number` or more.
    pub(crate) fn first_from(&self, number: u64) -> Option<u64> {
        self.writes.from(number, |key, _| key)
    }

    /// The last write.
    pub(crate) fn last(&self) -> Option<u64> {
        self.writes.before(u64::MAX, |key, _| key)
    }

    /// The first write before `number` that has sectors from `start` to `end`.
    fn first_overlap(&self, start: u64, end: u64, number: u64) -> Option<u64> {
        let mut next = self.first_from(0);

        while let Some(key) = next.filter(|key| *key < number) {
            if self.get(key).is_some_and(|write| write.meets(start, end)) {
                return Some(key);
            }
            next = self.first_from(key.saturating_add(1));
        }
        None
    }

    /// The write that has to reach the medium first if `number` is to: the oldest of those that it
    /// overlaps, that these overlap, and so on; or itself.
    pub(crate) fn first_to_go(&self, number: u64) -> u64 {
        let mut first = number;

        while let Some(older) = self
            .get(first)
            .and_then(|write| self.first_overlap(write.start, write.end(), first))
        {
            first = older;
        }
        first
    }

    /// The write that has to reach the medium first before sectors from `start` on may be written
    /// to it past the cache.
    pub(crate) fn first_in_the_way(&self, start: u64, len: u32) -> Option<u64> {
        let end = start.saturating_add(len.into());

        self.first_overlap(start, end, u64::MAX)
            .map(|number| self.first_to_go(number))
    }

    /// Takes a write out: it is on the medium, or lost.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Write<D>> {
        let write = self.writes.remove(number)?;
        let end = write.end();
        let mut at = write.start;

        // Extents of this write lie within it.
        while let Some((key, extent)) = self
            .newest
            .from(at, |key, extent| (key, *extent))
            .filter(|(key, _)| *key < end)
        {
            if extent.number == number {
                self.newest.remove(key);
            }
            at = extent.end;
        }
        self.memory = self.memory.saturating_sub(write.memory);
        Some(write)
    }
}
