// SPDX-License-Identifier: GPL-2.0

//! Telling device mapper which devices a target uses.

use super::{Device, DmTarget, Sector};
use crate::bindings;
use core::{marker::PhantomData, num::NonZeroI32, ops::ControlFlow};
use kernel::ffi::c_void;

/// What device mapper wants to be called with for each section of a device that a target uses,
/// `iterate_devices_callout_fn` in C.
pub struct Callout<'a> {
    /// # Invariants
    ///
    /// May be called for `ti` with `data`.
    function: unsafe extern "C" fn(
        *mut bindings::dm_target,
        *mut bindings::dm_dev,
        bindings::sector_t,
        bindings::sector_t,
        *mut c_void,
    ) -> i32,
    data: *mut c_void,
    ti: &'a DmTarget,
    _data: PhantomData<&'a mut ()>,
}

/// The callout has seen enough.
pub struct Stop(NonZeroI32);

impl Stop {
    pub(super) fn value(&self) -> i32 {
        self.0.get()
    }
}

impl<'a> Callout<'a> {
    /// # Safety
    ///
    /// Device mapper gave `function` and `data` to `iterate_devices` of `ti`, which is running.
    pub(super) unsafe fn from_raw(
        ti: &'a DmTarget,
        function: bindings::iterate_devices_callout_fn,
        data: *mut c_void,
    ) -> Option<Self> {
        // INVARIANT: As the caller says.
        Some(Self {
            function: function?,
            data,
            ti,
            _data: PhantomData,
        })
    }

    /// The target uses `len` sectors of `dev` from `start` on.
    ///
    /// Pass a [`Stop`] on (`?` does).
    pub fn call(&mut self, dev: &Device, start: Sector, len: Sector) -> ControlFlow<Stop> {
        // SAFETY: By the type invariants the function may be called for this target with these
        // data; the device is open.
        let value =
            unsafe { (self.function)(self.ti.as_raw(), dev.as_raw(), start, len, self.data) };

        NonZeroI32::new(value).map_or(ControlFlow::Continue(()), |v| ControlFlow::Break(Stop(v)))
    }
}
