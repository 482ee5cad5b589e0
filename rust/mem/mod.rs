// SPDX-License-Identifier: GPL-2.0

//! Memory that bios and ciphers work on, and pools that always have some.

mod may_sleep;
mod pool;
mod secret;
mod segment;

pub(crate) use self::secret::fill_random;
pub use self::{
    may_sleep::MaySleep,
    pool::{Pool, PoolBox},
    secret::Secret,
    segment::{Segment, SegmentMut},
};

/// May sleep, but starts no I/O to get memory: `GFP_NOIO` in C.
pub(crate) const NOIO: u32 = crate::bindings::DM_RUST_GFP_NOIO;
/// Does not wait for memory: `GFP_NOWAIT` in C.
pub(crate) const NOWAIT: u32 = crate::bindings::GFP_NOWAIT;
