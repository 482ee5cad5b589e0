// SPDX-License-Identifier: GPL-2.0

//! What differs between the kernels that the module is built for.
//!
//! `Kbuild` looks into the kernel's headers and sets a `cfg` for each difference.

use super::bvec_iter;

/// Whether the kernel is 7.3 or later, for what a target does as the in-tree one of its time.
pub(crate) const SINCE_7_3: bool = cfg!(dm_rust_since_7_3);

/// A position in the data of a bio: its sector, the bytes that are left, the index of the entry, and
/// how many bytes of that have been passed. The last was called `bi_bvec_done` until 7.2, and is
/// `bi_offset` since.
#[inline(always)]
pub(crate) fn bvec_iter_at(sector: u64, size: u32, index: u32, done: u32) -> bvec_iter {
    bvec_iter {
        bi_sector: sector,
        bi_size: size,
        bi_idx: index,
        #[cfg(dm_rust_bvec_iter_offset)]
        bi_offset: done,
        #[cfg(not(dm_rust_bvec_iter_offset))]
        bi_bvec_done: done,
    }
}

/// How many bytes of the entry have been passed.
#[inline(always)]
pub(crate) fn bvec_iter_done(iter: &bvec_iter) -> u32 {
    #[cfg(dm_rust_bvec_iter_offset)]
    let done = iter.bi_offset;
    #[cfg(not(dm_rust_bvec_iter_offset))]
    let done = iter.bi_bvec_done;

    done
}

/// Changes that.
#[inline(always)]
pub(crate) fn set_bvec_iter_done(iter: &mut bvec_iter, done: u32) {
    #[cfg(dm_rust_bvec_iter_offset)]
    {
        iter.bi_offset = done;
    }
    #[cfg(not(dm_rust_bvec_iter_offset))]
    {
        iter.bi_bvec_done = done;
    }
}

/// The same position.
#[inline(always)]
pub(crate) fn copy_bvec_iter(iter: &bvec_iter) -> bvec_iter {
    bvec_iter_at(
        iter.bi_sector,
        iter.bi_size,
        iter.bi_idx,
        bvec_iter_done(iter),
    )
}
