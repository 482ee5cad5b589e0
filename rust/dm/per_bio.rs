// SPDX-License-Identifier: GPL-2.0

//! What a target keeps with each bio: memory that device mapper allocates in front of the bio.
//!
//! The value is written before [`Target::map`](super::Target::map) is called, and dropped once:
//! after [`Target::end_io`](super::Target::end_io), which device mapper calls for each bio that was
//! remapped or ended, or after `map` for each that was killed or requeued, for which it does not. A
//! requeued bio is mapped again as a new one. The flushes that device mapper sends past `map` (see
//! [`Constructor::set_flush_bypasses_map`](super::Constructor::set_flush_bypasses_map)) go past
//! `end_io` as well.

use crate::bindings;
use core::mem::{align_of, needs_drop, size_of};
use kernel::ffi::c_uint;

/// What a target `T` may keep with each bio.
pub trait PerBioData<T> {
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

/// Whether a `P` is anything at all.
pub(super) const fn is_used<P>() -> bool {
    size_of::<P>() != 0 || needs_drop::<P>()
}

/// How many bytes device mapper is asked for.
pub(super) const fn size<P>() -> c_uint {
    // Device mapper places the data right in front of its own, aligned for a pointer.
    assert!(align_of::<P>() <= align_of::<*mut ()>());
    assert!(size_of::<P>() <= 4096);

    size_of::<P>() as c_uint
}

/// Where the data of `bio` are.
///
/// # Safety
///
/// `bio` was given by device mapper to a target whose `per_io_data_size` is [`size::<P>()`](size).
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
