// SPDX-License-Identifier: GPL-2.0

//! Devices that a target maps to.

use crate::bindings;
use core::ptr::NonNull;
use kernel::{prelude::*, types::Opaque};

use super::Sector;

/// A block device that a table has opened, `struct dm_dev` in C.
///
/// Only ever seen as `&'ti Device`, see [`Constructor::get_device`](super::Constructor::get_device).
///
/// # Invariants
///
/// The device is open, and the fields of the `dm_dev` do not change. (Device mapper would replace a
/// `dm_dev` to open a device with more rights. It never does with those of this abstraction, which
/// are opened with all the rights that the table has.)
#[repr(transparent)]
pub struct Device(Opaque<bindings::dm_dev>);

// SAFETY: A `dm_dev` belongs to the table and to no thread.
unsafe impl Send for Device {}
// SAFETY: All methods only read what does not change, or call functions that may run at once.
unsafe impl Sync for Device {}

impl Device {
    /// # Safety
    ///
    /// `dev` came from `dm_get_device` and is not put before the end of `'ti`.
    pub(super) unsafe fn from_raw<'ti>(dev: NonNull<bindings::dm_dev>) -> &'ti Self {
        // SAFETY: The caller says so; the type is transparent.
        unsafe { dev.cast().as_ref() }
    }

    #[inline(always)]
    pub(super) fn as_raw(&self) -> *mut bindings::dm_dev {
        self.0.get()
    }

    #[inline(always)]
    pub(super) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariants the field is set and does not change.
        unsafe { (*self.as_raw()).bdev }
    }

    /// Null if the device has no direct access to memory.
    #[cfg(CONFIG_FS_DAX)]
    pub(super) fn dax_dev(&self) -> *mut bindings::dax_device {
        // SAFETY: By the type invariants the field is set and does not change.
        unsafe { (*self.as_raw()).dax_dev }
    }

    /// `major:minor`, as in the status line of a table.
    pub fn name(&self) -> &str {
        // SAFETY: By the type invariants the field is set and does not change.
        let name = unsafe { &(*self.as_raw()).name };
        // SAFETY: Device mapper has written a string there, with its NUL.
        let name = unsafe { CStr::from_char_ptr(name.as_ptr()) };

        // Digits and a colon, so this does not fail.
        name.to_str().unwrap_or_default()
    }

    /// Major and minor number in one, `dev_t` in C.
    pub(super) fn number(&self) -> bindings::dev_t {
        // SAFETY: By the type invariants the device is open.
        unsafe { (*self.bdev()).bd_dev }
    }

    /// The size in sectors, now: a device may grow or shrink.
    pub fn nr_sectors(&self) -> Sector {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_bdev_nr_sectors(self.bdev()) }
    }

    /// Whether the device has zones.
    pub fn is_zoned(&self) -> bool {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_bdev_is_zoned(self.bdev()) }
    }

    /// Whether it is a disk that rotates, so that it gains if writes come in order.
    pub fn rotates(&self) -> bool {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_bdev_rotates(self.bdev()) }
    }

    /// Whether it does its work, on bios at least, before it says that it has taken it on.
    pub fn is_synchronous(&self) -> bool {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_bdev_synchronous(self.bdev()) }
    }

    /// The smallest unit that can be addressed, in bytes.
    pub fn logical_block_size(&self) -> u32 {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_bdev_logical_block_size(self.bdev()) }
    }

    /// Tells the kernel log that a sector is not authentic, unless it was told much already.
    pub fn log_integrity_error(&self, target: &CStr, sector: Sector) {
        // SAFETY: By the type invariants the device is open; the name is a string.
        unsafe {
            bindings::dm_rust_helper_integrity_error(target.as_char_ptr(), self.bdev(), sector)
        };
    }

    /// What the device keeps beside its data, if it is plain metadata or protects itself.
    pub fn integrity_profile(&self) -> Option<IntegrityProfile> {
        let (mut metadata_size, mut interval_exp, mut plain) = (0, 0, false);
        // SAFETY: By the type invariants the device is open; the rest can be written to.
        let found = unsafe {
            bindings::dm_rust_helper_integrity_profile(
                self.bdev(),
                &mut metadata_size,
                &mut interval_exp,
                &mut plain,
            )
        };

        found.then_some(IntegrityProfile {
            metadata_size,
            interval_exp,
            plain,
        })
    }

    /// Where the device starts on the disk that it is a partition of, in sectors.
    #[cfg(CONFIG_FS_DAX)]
    pub(super) fn start_sector(&self) -> Sector {
        // SAFETY: By the type invariants the device is open.
        unsafe { bindings::dm_rust_helper_get_start_sect(self.bdev()) }
    }
}

/// Metadata of a device, `struct blk_integrity` in C.
pub struct IntegrityProfile {
    /// Bytes of metadata for each interval.
    pub metadata_size: u32,
    /// Bytes of an interval, as a power of two.
    pub interval_exp: u32,
    /// Whether the metadata mean nothing to the device: no checksum that it looks at.
    pub plain: bool,
}

/// Gives a reference to a device back.
///
/// # Safety
///
/// `dm_get_device` took this reference for `ti`, whose constructor has failed or whose destructor
/// is running. It is given up here, and not used any more.
pub(super) unsafe fn put(ti: NonNull<bindings::dm_target>, dev: NonNull<bindings::dm_dev>) {
    // SAFETY: As the caller says; this is the time when the table's list of devices may be changed.
    unsafe { bindings::dm_put_device(ti.as_ptr(), dev.as_ptr()) };
}
