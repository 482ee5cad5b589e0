// SPDX-License-Identifier: GPL-2.0

//! Static inlines of the kernel's headers that are on a hot path, written out in Rust so that they
//! are inlined here as well.

use kernel::bindings;

/// Mirrors `bio_set_dev()` of `linux/bio.h`: directs `bio` to `bdev`.
///
/// # Safety
///
/// The caller owns `bio`, which is initialised; `bdev` stays open until `bio` has completed.
#[inline(always)]
pub(crate) unsafe fn bio_set_dev(bio: *mut bindings::bio, bdev: *mut bindings::block_device) {
    const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;
    const BPS_THROTTLED: u16 = 1 << bindings::BIO_BPS_THROTTLED;

    // SAFETY: The caller owns the bio, so nobody else accesses its fields.
    let bio_ref = unsafe { &mut *bio };

    bio_ref.bi_flags &= !REMAPPED;
    if bio_ref.bi_bdev != bdev {
        bio_ref.bi_flags &= !BPS_THROTTLED;
    }
    bio_ref.bi_bdev = bdev;

    #[cfg(CONFIG_BLK_CGROUP)]
    // SAFETY: The bio is the caller's and has just been given a device that is open.
    unsafe {
        bindings::bio_associate_blkg(bio)
    };
}
