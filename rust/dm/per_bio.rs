// SPDX-License-Identifier: GPL-2.0

//! What a target keeps with each bio: memory that device mapper allocates in front of the bio.
//!
//! The value is written before [`Target::map`](super::Target::map) is called, and dropped once:
//! after [`Target::end_io`](super::Target::end_io), which device mapper calls for each bio that was
//! remapped or ended, or after `map` for each that was killed or requeued, for which it does not. A
//! requeued bio is mapped again as a new one. The flushes that device mapper sends past `map` (see
//! [`Constructor::set_flush_bypasses_map`](super::Constructor::set_flush_bypasses_map)) go past
//! `end_io` as well.
//!
//! By the time that a bio has completed, the layers below may have moved its iterator: where its
//! data start is known only to who has noted it before. [`KeepsStart`] has the abstraction do that,
//! in front of the target's own data, where the target cannot confuse it with another bio's.

use super::{bio::EndBio, cursor::Cursor, Op};
use crate::{bindings, mem::SegmentMut};
use core::{
    mem::{align_of, needs_drop, size_of},
    ops::{Deref, DerefMut},
};
use kernel::ffi::c_uint;

/// What a target `T` may keep with each bio.
pub trait PerBioData<T> {
    /// Whether it is noted where the data of the bio start, see [`KeepsStart`].
    const KEEPS_START: bool = false;

    /// The data of a bio that `target` is given.
    ///
    /// Safe code cannot call this: what has a pointer to its target must be that of one that stays.
    ///
    /// # Safety
    ///
    /// `target` is there, where it is now, until the bio has completed.
    unsafe fn new(target: &T) -> Self;
}

impl<T, P: Default> PerBioData<T> for P {
    #[inline(always)]
    unsafe fn new(_: &T) -> Self {
        P::default()
    }
}

/// A `P`, for a target that looks at the data of bios that have completed.
#[repr(transparent)]
pub struct KeepsStart<P>(P);

impl<T, P: Default> PerBioData<T> for KeepsStart<P> {
    const KEEPS_START: bool = true;

    unsafe fn new(_: &T) -> Self {
        Self(P::default())
    }
}

impl<P> Deref for KeepsStart<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.0
    }
}

impl<P> DerefMut for KeepsStart<P> {
    fn deref_mut(&mut self) -> &mut P {
        &mut self.0
    }
}

/// The part of a bio's iterator that says where its data start.
struct Start {
    size: u32,
    index: u32,
    done: u32,
}

/// How far in front of where device mapper has a target's data a [`Start`] begins.
const fn start_offset<P>() -> usize {
    (size_of::<P>() + size_of::<Start>()).next_multiple_of(align_of::<*mut ()>())
}

/// Where the [`Start`] of a bio is.
///
/// # Safety
///
/// `bio` was given by device mapper to a target whose `per_io_data_size` is `size::<T, P>()`, of a
/// `P` that keeps it.
#[inline(always)]
unsafe fn start_of<P>(bio: *mut bindings::bio) -> *mut Start {
    // SAFETY: The caller says that the bio is one of device mapper's, with that much in front.
    unsafe { bindings::dm_per_bio_data(bio, start_offset::<P>()) }.cast()
}

impl<P> EndBio<'_, KeepsStart<P>> {
    /// How many bytes the bio had when it was mapped.
    pub fn original_size(&self) -> u32 {
        // SAFETY: The bio is one of device mapper's, for a target with such data. It was noted
        // before `map` was called.
        unsafe { (*start_of::<KeepsStart<P>>(self.as_raw())).size }
    }

    /// Writes `value` over byte `index` of what was read, counted as when the bio was mapped.
    /// Returns whether it did: not if the bio is no read, or has no such byte.
    pub fn set_byte(&mut self, index: u32, value: u8) -> bool {
        if self.op() != Op::READ {
            return false;
        }
        let bio = self.as_raw();
        // SAFETY: As for `original_size`.
        let start = unsafe { &*start_of::<KeepsStart<P>>(bio) };
        // SAFETY: The bio has its table of pieces until it is freed: that of the bio that it was
        // cloned from, which has not completed. It had that many bytes of it from there on.
        let mut cursor =
            unsafe { Cursor::at((*bio).bi_io_vec, start.size, start.index, start.done) };

        cursor.skip_to(index).is_some_and(|byte| {
            // SAFETY: What is read into may be written.
            unsafe { SegmentMut::new(byte) }.store_byte(0, value)
        })
    }
}

/// Whether a `P` is anything at all.
pub(super) const fn is_used<P>() -> bool {
    size_of::<P>() != 0 || needs_drop::<P>()
}

/// How many bytes device mapper is asked for.
pub(super) const fn size<T, P: PerBioData<T>>() -> c_uint {
    // Device mapper places the data right in front of its own, aligned for a pointer.
    assert!(align_of::<P>() <= align_of::<*mut ()>());
    assert!(size_of::<P>() <= 4096);
    if P::KEEPS_START {
        return start_offset::<P>() as c_uint;
    }
    size_of::<P>() as c_uint
}

/// Where the data of `bio` are.
///
/// # Safety
///
/// `bio` was given by device mapper to a target whose `per_io_data_size` is that of [`size`] for `P`.
#[inline(always)]
pub(super) unsafe fn of<P>(bio: *mut bindings::bio) -> *mut P {
    // SAFETY: The caller says that the bio is one of device mapper's, with that much in front.
    unsafe { bindings::dm_per_bio_data(bio, size_of::<P>()) }.cast()
}

/// Makes the data of a bio.
///
/// # Safety
///
/// As for [`of`]. The bio has no data yet, and nobody else uses it. `target` is the one that it was
/// given to, which device mapper keeps until it has completed.
#[inline(always)]
pub(super) unsafe fn init<T, P: PerBioData<T>>(bio: *mut bindings::bio, target: &T) {
    if is_used::<P>() {
        // SAFETY: As the caller says.
        let data = unsafe { of::<P>(bio) };
        // SAFETY: As the caller says.
        let value = unsafe { P::new(target) };
        // SAFETY: There is room for a `P`, aligned as `size` demands, that nobody else uses.
        unsafe { data.write(value) };
    }
    if P::KEEPS_START {
        // SAFETY: As the caller says, the bio is initialised and ours.
        let iter = unsafe { &(*bio).bi_iter };
        // SAFETY: There is room for it in front of the data, aligned as for a pointer.
        unsafe {
            start_of::<P>(bio).write(Start {
                size: iter.bi_size,
                index: iter.bi_idx,
                done: bindings::bvec_iter_done(iter),
            })
        };
    }
}

/// Drops the data of a bio.
///
/// # Safety
///
/// As for [`of`]. The bio has data, nobody else uses it, and nobody will use the data again.
#[inline(always)]
pub(super) unsafe fn drop<P>(bio: *mut bindings::bio) {
    if needs_drop::<P>() {
        // SAFETY: As the caller says.
        let data = unsafe { of::<P>(bio) };
        // SAFETY: The data were initialised, and are used for the last time.
        unsafe { data.drop_in_place() };
    }
}

/// The data of a bio.
///
/// # Safety
///
/// As for [`of`]. The bio has data, and nobody else uses them for `'a`.
#[inline(always)]
pub(super) unsafe fn get<'a, P>(bio: *mut bindings::bio) -> &'a mut P {
    // SAFETY: As the caller says.
    let data = unsafe { of::<P>(bio) };
    // SAFETY: As the caller says.
    unsafe { &mut *data }
}
