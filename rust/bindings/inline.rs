// SPDX-License-Identifier: GPL-2.0

//! Static inlines of the kernel's headers that are on a hot path, written out in Rust so that they
//! are inlined here as well.

use kernel::bindings;

/// Directs `bio`, which device mapper made for a target and submits next, to `bdev`, at `sector`.
/// Mirrors `bio_set_dev()` of `linux/bio.h`, but for whose I/O it is.
///
/// `bio_set_dev()` finds out the cgroup of the task, and puts the I/O down to it. Device mapper then
/// puts it down to whose the mapped device's own bio was, instead: see `dm_submit_bio_remap()`,
/// through which every remapped bio goes. (That bio has a cgroup. The block layer has used it by
/// then, in `blk_cgroup_bio_start()`.) So to look for the task's is in vain. The bio is put down to
/// the root for that short time: it needs no look-up, and the bio is never without.
///
/// # Safety
///
/// The caller owns `bio`, which is initialised; `bdev` stays open until `bio` has completed.
#[inline(always)]
pub(crate) unsafe fn dm_bio_remap(
    bio: *mut bindings::bio,
    bdev: *mut bindings::block_device,
    sector: bindings::sector_t,
) {
    const REMAPPED: u16 = 1 << bindings::BIO_REMAPPED;
    const BPS_THROTTLED: u16 = 1 << bindings::BIO_BPS_THROTTLED;

    // SAFETY: The caller owns the bio, so nobody else accesses its fields.
    let bio_ref = unsafe { &mut *bio };

    bio_ref.bi_flags &= if bio_ref.bi_bdev == bdev {
        !REMAPPED
    } else {
        !(REMAPPED | BPS_THROTTLED)
    };
    bio_ref.bi_bdev = bdev;
    bio_ref.bi_iter.bi_sector = sector;

    #[cfg(CONFIG_BLK_CGROUP)]
    // SAFETY: The bio is the caller's and has just been given a device that is open. No cgroup is
    // named, which stands for the root.
    unsafe {
        bindings::bio_associate_blkg_from_css(bio, core::ptr::null_mut())
    };
}
