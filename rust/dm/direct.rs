// SPDX-License-Identifier: GPL-2.0

//! I/O of a target's own, which is waited for, and memory for the data of bios.
//!
//! Whoever waits for I/O must not be submitting a bio: what is submitted meanwhile is only started
//! when that is over. So all that waits here looks where it is, and fails in [`map`], in [`end_io`]
//! and wherever else it could not end.
//!
//! [`map`]: super::Target::map
//! [`end_io`]: super::Target::end_io

use super::{cursor::Cursor, later::DueBio, Device, PutsOff, Sector, Status};
use crate::{bindings, mem::NOIO};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::{
    alloc::{flags::__GFP_NOWARN, AllocError, KVec},
    page::Page,
    prelude::*,
};

const PAGE_SIZE: u32 = kernel::page::PAGE_SIZE as u32;
const SECTOR_SIZE: u32 = 1 << bindings::SECTOR_SHIFT;

/// While there is one, memory that this thread asks for is not made by doing I/O:
/// `memalloc_noio_save()` in C.
pub struct WithoutIo {
    before: u32,
    /// It is this thread's.
    _thread: PhantomData<*mut ()>,
}

impl WithoutIo {
    /// Calls `f` in such a time.
    pub fn during<R>(f: impl FnOnce() -> R) -> R {
        let _this = Self {
            // SAFETY: Has no requirements. It is undone when the value is dropped.
            before: unsafe { bindings::dm_rust_helper_noio_save() },
            _thread: PhantomData,
        };

        f()
    }
}

impl Drop for WithoutIo {
    fn drop(&mut self) {
        // SAFETY: This undoes what `during` did, in the same thread; those within have ended.
        unsafe { bindings::dm_rust_helper_noio_restore(self.before) };
    }
}

/// Whether I/O may be waited for here.
fn may_wait() -> bool {
    // SAFETY: Only looks.
    unsafe { bindings::dm_rust_helper_may_wait_for_io() }
}

/// A bio that is submitted and waited for.
///
/// # Invariants
///
/// `0` is initialised and nobody else's.
struct Own(NonNull<bindings::bio>);

impl Own {
    fn new(dev: &Device, sector: Sector, vecs: u16, opf: u32) -> Option<Self> {
        // SAFETY: The device is open; the set is the kernel's own, always there.
        let bio = NonNull::new(unsafe {
            bindings::bio_alloc_bioset(dev.bdev(), vecs, opf, NOIO, &raw mut bindings::fs_bio_set)
        })?;

        // SAFETY: The bio is ours.
        unsafe { (*bio.as_ptr()).bi_iter.bi_sector = sector };
        // INVARIANT: The bio is new.
        Some(Self(bio))
    }

    /// Submits the bio, and waits until it has completed.
    fn wait(self) -> Status {
        // SAFETY: The bio is complete and ours. `may_wait` was asked.
        unsafe { bindings::submit_bio_wait(self.0.as_ptr()) };
        // SAFETY: The bio has completed, and is ours again.
        Status::from_raw(unsafe { (*self.0.as_ptr()).bi_status })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: By the type invariants it is ours, and given up.
        unsafe { bindings::bio_put(self.0.as_ptr()) };
    }
}

impl Device {
    /// Has the device write what is in its cache, and waits for it.
    ///
    /// Gives [`Status::INVAL`] where I/O may not be waited for.
    pub fn flush(&self) -> Status {
        if !may_wait() {
            return Status::INVAL;
        }
        let opf = bindings::req_op_REQ_OP_WRITE
            | 1 << bindings::req_flag_bits___REQ_PREFLUSH
            | 1 << bindings::req_flag_bits___REQ_SYNC;

        Own::new(self, 0, 0, opf).map_or(Status::RESOURCE, Own::wait)
    }
}

/// Whole sectors in memory.
pub struct Sectors {
    pages: KVec<Page>,
    count: u32,
}

impl Sectors {
    /// A copy of the data of a bio. Does not try hard to get memory.
    ///
    /// # Errors
    ///
    /// There is no memory, or the bio has no data.
    pub fn of<'ti, T: PutsOff<'ti>>(bio: &DueBio<'_, 'ti, T>) -> Result<Self, AllocError> {
        let size = bio.size();
        let flags = GFP_KERNEL | __GFP_NOWARN;

        if !bio.op().has_data() {
            return Err(AllocError);
        }
        let mut pages = KVec::with_capacity(size.div_ceil(PAGE_SIZE) as usize, flags)?;

        for _ in 0..size.div_ceil(PAGE_SIZE) {
            pages.push(Page::alloc_page(flags)?, flags)?;
        }
        let this = Self {
            pages,
            count: size >> bindings::SECTOR_SHIFT,
        };

        this.copy(0, &mut bio.cursor(), size, true);
        Ok(this)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// How many bytes of memory a copy of so many bytes takes.
    pub fn memory_for(size: u32) -> u64 {
        let pages = u64::from(size.div_ceil(PAGE_SIZE));

        pages.saturating_mul(u64::from(PAGE_SIZE) + size_of::<Page>() as u64)
    }

    /// Copies between the memory from byte `at` on and the next `len` bytes of a walk.
    fn copy(&self, at: u32, cursor: &mut Cursor<'_>, len: u32, into: bool) {
        let (mut at, mut left) = (at, len);

        while left > 0 {
            let offset = at % PAGE_SIZE;
            let most = left.min(PAGE_SIZE.wrapping_sub(offset));
            let Some(page) = self.pages.get((at / PAGE_SIZE) as usize) else {
                return;
            };
            let Some(part) = cursor.next_part(most) else {
                return;
            };
            let len = part.len() as usize;
            let ours = (page.as_ptr(), offset as usize);
            let theirs = (part.page(), part.offset() as usize);
            let (to, from) = if into { (ours, theirs) } else { (theirs, ours) };

            // SAFETY: Both pages are there, and the ranges lie within them. Rust code has no
            // reference to either.
            unsafe { bindings::dm_rust_helper_copy_page(to.0, to.1, from.0, from.1, len) };
            at = at.wrapping_add(part.len());
            left = left.saturating_sub(part.len());
        }
    }

    /// Copies `count` sectors from the `first` on over what a bio has read, from its sector `at` on.
    /// What one of them does not have is left out; so is a bio that is no read.
    pub fn copy_to<'ti, T: PutsOff<'ti>>(
        &self,
        first: u32,
        count: u32,
        bio: &mut DueBio<'_, 'ti, T>,
        at: u32,
    ) {
        let count = count.min(self.count.saturating_sub(first));

        if bio.op() != super::Op::READ {
            return;
        }
        let mut cursor = bio.cursor();

        cursor.skip(at.saturating_mul(SECTOR_SIZE));
        self.copy(
            first.saturating_mul(SECTOR_SIZE),
            &mut cursor,
            count.saturating_mul(SECTOR_SIZE),
            false,
        );
    }

    /// Writes `count` sectors from the `first` on to `sector` of `dev`, past its cache if `fua`, and
    /// waits for it.
    ///
    /// Gives [`Status::INVAL`] if there are not so many, or where I/O may not be waited for.
    pub fn write(&self, first: u32, count: u32, dev: &Device, sector: Sector, fua: bool) -> Status {
        if !may_wait() || first.checked_add(count).is_none_or(|end| end > self.count) {
            return Status::INVAL;
        }
        let mut opf = bindings::req_op_REQ_OP_WRITE | 1 << bindings::req_flag_bits___REQ_SYNC;

        if fua {
            opf |= 1 << bindings::req_flag_bits___REQ_FUA;
        }
        let mut at = first.saturating_mul(SECTOR_SIZE);
        let end = at.saturating_add(count.saturating_mul(SECTOR_SIZE));
        let mut sector = sector;

        while at < end {
            let begin = at;
            let pages = end.div_ceil(PAGE_SIZE).saturating_sub(at / PAGE_SIZE);
            let vecs = pages.min(bindings::BIO_MAX_VECS);
            let Some(bio) = Own::new(dev, sector, vecs as u16, opf) else {
                return Status::RESOURCE;
            };

            for _ in 0..vecs {
                let offset = at % PAGE_SIZE;
                let len = PAGE_SIZE.wrapping_sub(offset).min(end.saturating_sub(at));
                let Some(page) = self.pages.get((at / PAGE_SIZE) as usize) else {
                    return Status::INVAL;
                };

                // SAFETY: The bio is ours, with room for so many; the page stays until the bio has
                // completed, which is waited for, and nobody writes to it meanwhile.
                unsafe { bindings::__bio_add_page(bio.0.as_ptr(), page.as_ptr(), len, offset) };
                at = at.saturating_add(len);
            }
            let status = bio.wait();

            if status.is_error() {
                return status;
            }
            sector = sector.wrapping_add(Sector::from(
                at.saturating_sub(begin) >> bindings::SECTOR_SHIFT,
            ));
        }
        Status::OK
    }
}

impl<'ti, T: PutsOff<'ti>> DueBio<'_, 'ti, T> {
    /// Does what the bio wants with its data at `sector` of `dev`, and waits for it. The bio is not
    /// completed by that.
    ///
    /// Gives [`Status::INVAL`] where I/O may not be waited for.
    pub fn transfer(&mut self, dev: &Device, sector: Sector) -> Status {
        if !may_wait() {
            return Status::INVAL;
        }
        // SAFETY: The bio is ours, the device open, the set the kernel's own.
        let clone = NonNull::new(unsafe {
            bindings::bio_alloc_clone(
                dev.bdev(),
                self.as_raw(),
                NOIO,
                &raw mut bindings::fs_bio_set,
            )
        });
        let Some(clone) = clone else {
            return Status::RESOURCE;
        };

        // SAFETY: The clone is ours.
        unsafe { (*clone.as_ptr()).bi_iter.bi_sector = sector };
        // INVARIANT: The clone is new. It shares the data of the bio, which stays meanwhile.
        Own(clone).wait()
    }
}
