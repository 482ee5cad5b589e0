// SPDX-License-Identifier: GPL-2.0

//! Writes whose data are copied, so that what reaches the device is not what was written.

use super::{
    bio::{Bio, Mapped},
    cursor::Cursor,
    Device, Op, Sector,
};
use crate::{
    bindings,
    mem::{SegmentMut, NOIO},
};
use core::ptr::NonNull;

const PAGE_SIZE: u32 = kernel::page::PAGE_SIZE as u32;

/// The most pages that a bio from no pool has, `UIO_MAXIOV` in C.
const MAX_PAGES: u32 = bindings::UIO_MAXIOV;

/// A bio of our own, with pages of its own.
///
/// # Invariants
///
/// `bio` came from `dm_rust_helper_new_bio`, and is nobody else's. Each of its entries is a page, or
/// several that are one allocation.
struct Copy(NonNull<bindings::bio>);

impl Drop for Copy {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; it is given up here.
        unsafe { bindings::dm_rust_helper_free_bio(self.0.as_ptr()) };
    }
}

/// A write, and a copy of it for a device.
pub struct CopiedBio<'map, P> {
    base: Bio<'map, P>,
    copy: Copy,
}

impl<'map, P> Bio<'map, P> {
    /// Makes a copy of a write for `sector` of `dev`. Of a bio that is too large for that only the
    /// first part is taken, if it can be split (see [`accept_partial`](Self::accept_partial)).
    ///
    /// # Errors
    ///
    /// The bio, if it is no write with data, or there is no memory.
    pub fn copied(mut self, dev: &Device, sector: Sector) -> Result<CopiedBio<'map, P>, Self> {
        if self.op() != Op::WRITE || self.size() == 0 {
            return Err(self);
        }
        if self.size() > MAX_PAGES.saturating_mul(PAGE_SIZE) {
            self.accept_partial(MAX_PAGES.saturating_mul(PAGE_SIZE >> bindings::SECTOR_SHIFT));
        }
        match self.copy_for(dev, sector) {
            Some(copy) => Ok(CopiedBio { base: self, copy }),
            None => Err(self),
        }
    }

    fn copy_for(&self, dev: &Device, sector: Sector) -> Option<Copy> {
        let mut left = self.size();
        let vecs = u16::try_from(left.div_ceil(PAGE_SIZE)).ok()?;
        let gfp = NOIO | bindings::DM_RUST_GFP_NORETRY | bindings::DM_RUST_GFP_NOWARN;
        // SAFETY: The device is open.
        let bio = NonNull::new(unsafe {
            bindings::dm_rust_helper_new_bio(dev.bdev(), vecs, self.op_and_flags(), gfp)
        })?;
        // INVARIANT: The bio is new, and has no entries yet.
        let copy = Copy(bio);
        let mut order = bindings::MAX_PAGE_ORDER;

        // SAFETY: The bio is ours.
        unsafe { (*bio.as_ptr()).bi_iter.bi_sector = sector };
        while left > 0 {
            order = order.min(left.div_ceil(PAGE_SIZE).checked_ilog2().unwrap_or(0));
            let page = loop {
                // SAFETY: The caller of `map` may sleep.
                let page = unsafe { bindings::dm_rust_helper_alloc_compound(gfp, order) };

                match NonNull::new(page) {
                    Some(page) => break page,
                    None => order = order.checked_sub(1)?,
                }
            };
            let len = left.min(PAGE_SIZE << order);

            // SAFETY: The bio has an entry for each page, and each entry is one page at least.
            unsafe { bindings::__bio_add_page(bio.as_ptr(), page.as_ptr(), len, 0) };
            left = left.saturating_sub(len);
        }
        // SAFETY: Both bios are ours, and have as many bytes.
        unsafe { bindings::bio_copy_data(bio.as_ptr(), self.as_raw()) };
        Some(copy)
    }
}

impl<'map, P> CopiedBio<'map, P> {
    /// How many bytes.
    pub fn size(&self) -> u32 {
        self.base.size()
    }

    /// Writes `value` over byte `index` of the copy. Returns whether there is one.
    pub fn set_byte(&mut self, index: u32, value: u8) -> bool {
        // SAFETY: The copy is ours, and stays meanwhile.
        let mut cursor = unsafe { Cursor::new(self.copy.0.as_ptr()) };

        cursor.skip_to(index).is_some_and(|byte| {
            // SAFETY: The pages are our own.
            unsafe { SegmentMut::new(byte) }.store_byte(0, value)
        })
    }

    /// Submits the copy. The write completes when that has. `DM_MAPIO_SUBMITTED` in C.
    pub fn submit(self) -> Mapped<'map> {
        let base = self.base.into_raw();
        let copy = self.copy.0;

        core::mem::forget(self.copy);
        // SAFETY: The copy is ours.
        let fields = unsafe { &mut *copy.as_ptr() };

        fields.bi_private = base.as_ptr().cast();
        fields.bi_end_io = Some(end_io);
        // SAFETY: The copy is complete, and given up. The device stays open as long as the table,
        // which device mapper keeps until the base has completed: not before the copy has.
        unsafe { bindings::submit_bio(copy.as_ptr()) };
        Mapped::submitted()
    }
}

/// # Safety
///
/// Called as `bi_end_io` of a copy that [`CopiedBio::submit`] has submitted.
unsafe extern "C" fn end_io(copy: *mut bindings::bio) {
    // SAFETY: The copy has completed, so it is ours.
    let (status, base) = unsafe { ((*copy).bi_status, (*copy).bi_private) };
    let base = base.cast::<bindings::bio>();

    // SAFETY: `submit` has given this up; nobody uses it any more.
    unsafe { bindings::dm_rust_helper_free_bio(copy) };
    // SAFETY: `submit` has stored the base there, which is ours until it completes.
    unsafe { (*base).bi_status = status };
    // SAFETY: As above, and it is given up.
    unsafe { bindings::bio_endio(base) };
}
