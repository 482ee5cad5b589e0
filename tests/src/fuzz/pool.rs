// SPDX-License-Identifier: GPL-2.0

//! The lower devices of a side.

use crate::lower::{Loop, RAM_SECTORS};
use crate::twin::Kind;
use std::fmt;

/// What a lower device is there for.
#[derive(Clone, Copy, Debug)]
pub enum Role {
    /// Stores what is written.
    Plain(Kind),
    /// Has zones of 2048 sectors that have to be written in order.
    Zoned(Kind),
    /// Cannot be written.
    ReadOnly(Kind),
    /// A loop device without a file: it has no sectors at all.
    Empty,
    /// A mapped device that fails all I/O.
    Failing,
    /// Is made for one table and taken away meanwhile.
    Transient(Kind),
}

/// A lower device.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// What it is for, and how it is made.
    pub role: Role,
    /// Size in sectors.
    pub sectors: u64,
    /// Logical block size in sectors.
    pub block: u64,
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}, {} sectors in blocks of {}",
            self.role, self.sectors, self.block
        )
    }
}

const fn spec(role: Role, sectors: u64, block: u64) -> Spec {
    Spec {
        role,
        sectors,
        block,
    }
}

const fn loop_of(sectors: u64, block: u64, read_only: bool) -> Kind {
    Kind::Loop(Loop {
        sectors,
        block: block * 512,
        read_only,
    })
}

/// The lower devices that each side has, with sizes and limits of many kinds.
pub const POOL: &[Spec] = &[
    spec(Role::Plain(Kind::Ram), RAM_SECTORS, 1),
    spec(Role::Plain(Kind::Ram), RAM_SECTORS, 1),
    spec(
        Role::Plain(Kind::Null(&[
            ("size", 1),
            ("memory_backed", 1),
            ("discard", 1),
            ("cache_size", 1),
            ("max_sectors", 64),
        ])),
        2048,
        1,
    ),
    spec(
        Role::Plain(Kind::Null(&[
            ("size", 2),
            ("memory_backed", 1),
            ("discard", 1),
            ("blocksize", 4096),
        ])),
        4096,
        8,
    ),
    // An odd number of sectors.
    spec(Role::Plain(loop_of(1003, 1, false)), 1003, 1),
    spec(Role::Plain(loop_of(1024, 8, false)), 1024, 8),
    spec(
        Role::Zoned(Kind::Null(&[
            ("size", 4),
            ("memory_backed", 1),
            ("zoned", 1),
            ("zone_size", 1),
            ("zone_nr_conv", 1),
        ])),
        8192,
        1,
    ),
    spec(Role::ReadOnly(loop_of(256, 1, true)), 256, 1),
    spec(Role::Empty, 0, 1),
    spec(Role::Failing, 512, 1),
    spec(
        Role::Transient(Kind::Null(&[("size", 1), ("memory_backed", 1)])),
        2048,
        1,
    ),
];

/// The device of the [`POOL`] that can vanish.
pub const TRANSIENT: usize = POOL.len() - 1;
