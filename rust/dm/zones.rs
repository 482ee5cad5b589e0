// SPDX-License-Identifier: GPL-2.0

//! Zone reports of zoned devices.

use super::{Device, Sector};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{ffi::c_uint, prelude::*};

/// A report of zones that is under way, `struct dm_report_zones_args` in C.
pub struct ZoneReport<'a> {
    /// # Invariants
    ///
    /// Device mapper has given this to `report_zones`, which is running.
    args: *mut bindings::dm_report_zones_args,
    nr_zones: c_uint,
    /// How many zones had been reported when this call began.
    before: c_uint,
    _args: PhantomData<&'a mut bindings::dm_report_zones_args>,
}

impl ZoneReport<'_> {
    /// # Safety
    ///
    /// Device mapper gave both to `report_zones`, which does not return before the value is gone.
    #[cfg(CONFIG_BLK_DEV_ZONED)]
    pub(super) unsafe fn from_raw(
        args: *mut bindings::dm_report_zones_args,
        nr_zones: c_uint,
    ) -> Self {
        // INVARIANT: As the caller says.
        Self {
            args,
            nr_zones,
            // SAFETY: As the caller says, this is valid.
            before: unsafe { (*args).zone_idx },
            _args: PhantomData,
        }
    }

    /// The sector of the mapped device from which zones are wanted.
    pub fn next_sector(&self) -> Sector {
        // SAFETY: By the type invariants this is valid, and nobody else's.
        unsafe { (*self.args).next_sector }
    }

    /// How many zones are wanted at most.
    pub fn nr_zones(&self) -> u32 {
        self.nr_zones
    }

    /// Reports the zones of `dev` from `sector` on, for a target that is mapped from `start` of
    /// `dev` on. Returns how many the device had.
    ///
    /// However often it is called, no more zones are reported than are wanted: whoever asked has
    /// memory for so many.
    ///
    /// Mirrors `dm_report_zones()`.
    ///
    /// # Errors
    ///
    /// Those of the device; `EOPNOTSUPP` if it has no zones.
    pub fn from_device(&mut self, dev: &Device, start: Sector, sector: Sector) -> Result<u32> {
        #[cfg(CONFIG_BLK_DEV_ZONED)]
        {
            // SAFETY: By the type invariants this is valid, and nobody else's.
            let done = unsafe { (*self.args).zone_idx }.wrapping_sub(self.before);
            let left = self.nr_zones.saturating_sub(done);
            // SAFETY: By the type invariants the report is under way; the device is open. No more
            // zones are asked for than are wanted.
            let count =
                unsafe { bindings::dm_report_zones(dev.bdev(), start, sector, self.args, left) };

            u32::try_from(count).map_err(|_| Error::from_errno(count))
        }
        #[cfg(not(CONFIG_BLK_DEV_ZONED))]
        {
            let _ = (dev, start, sector);
            Err(Error::from_errno(-(bindings::EOPNOTSUPP as i32)))
        }
    }
}
