// SPDX-License-Identifier: GPL-2.0

//! Direct access to persistent memory (DAX): the three operations, made of
//! [`Target::dax_map`](super::Target::dax_map).
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

#![cfg(CONFIG_FS_DAX)]

use super::{vtable::target_of, DmTarget, Target, TargetType};
use crate::bindings;
use kernel::{
    ffi::{c_int, c_long, c_ulong, c_void},
    page::PAGE_SIZE,
    prelude::*,
};

/// A page has this many sectors, as a power of two: `PAGE_SECTORS_SHIFT` in C.
const PAGE_SECTORS_SHIFT: u32 = kernel::page::PAGE_SHIFT as u32 - bindings::SECTOR_SHIFT;

/// Translates the first of `nr_pages` pages of the mapped device to one of the device below.
///
/// Whoever has the address of a page of memory is asked nothing afterwards, and drivers compute it
/// for pages that they do not have. So a target's answer is checked here.
///
/// # Safety
///
/// `ti` is a live target of type `T`.
unsafe fn translate<T: TargetType>(
    ti: *mut bindings::dm_target,
    pgoff: c_ulong,
    nr_pages: u64,
) -> Result<(*mut bindings::dax_device, c_ulong)> {
    // SAFETY: As the caller says.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As the caller says.
    let ti = unsafe { DmTarget::from_raw(ti) };
    let (dev, sector) = target.dax_map(ti, (pgoff as u64) << PAGE_SECTORS_SHIFT)?;
    let dax_dev = dev.dax_dev();

    if dax_dev.is_null() {
        return Err(Error::from_errno(-(bindings::EOPNOTSUPP as c_int)));
    }
    let left = dev.nr_sectors().checked_sub(sector).ok_or(EIO)?;

    if left >> PAGE_SECTORS_SHIFT < nr_pages {
        return Err(EIO);
    }
    let page = dev.start_sector().wrapping_add(sector) >> PAGE_SECTORS_SHIFT;
    Ok((dax_dev, page as c_ulong))
}

/// # Safety
///
/// Device mapper calls this as `direct_access` of a live target of type `T`.
pub(super) unsafe extern "C" fn direct_access<T: TargetType>(
    ti: *mut bindings::dm_target,
    pgoff: c_ulong,
    nr_pages: c_long,
    mode: bindings::dax_access_mode,
    kaddr: *mut *mut c_void,
    pfn: *mut c_ulong,
) -> c_long {
    // SAFETY: As the caller says.
    match unsafe { translate::<T>(ti, pgoff, u64::try_from(nr_pages).unwrap_or(0)) } {
        // SAFETY: The device below is open and has direct access; the rest is the caller's.
        Ok((dax_dev, pgoff)) => unsafe {
            bindings::dax_direct_access(dax_dev, pgoff, nr_pages, mode, kaddr, pfn)
        },
        Err(e) => e.to_errno() as c_long,
    }
}

/// # Safety
///
/// Device mapper calls this as `dax_zero_page_range` of a live target of type `T`.
pub(super) unsafe extern "C" fn zero_page_range<T: TargetType>(
    ti: *mut bindings::dm_target,
    pgoff: c_ulong,
    nr_pages: usize,
) -> c_int {
    // SAFETY: As the caller says.
    match unsafe { translate::<T>(ti, pgoff, nr_pages as u64) } {
        // SAFETY: The device below is open and has direct access.
        Ok((dax_dev, pgoff)) => unsafe { bindings::dax_zero_page_range(dax_dev, pgoff, nr_pages) },
        Err(e) => e.to_errno(),
    }
}

/// Returns how many bytes were written, 0 on any error.
///
/// # Safety
///
/// Device mapper calls this as `dax_recovery_write` of a live target of type `T`.
pub(super) unsafe extern "C" fn recovery_write<T: TargetType>(
    ti: *mut bindings::dm_target,
    pgoff: c_ulong,
    addr: *mut c_void,
    bytes: usize,
    iter: *mut bindings::iov_iter,
) -> usize {
    // SAFETY: As the caller says.
    match unsafe { translate::<T>(ti, pgoff, bytes.div_ceil(PAGE_SIZE) as u64) } {
        // SAFETY: The device below is open and has direct access; the rest is the caller's.
        Ok((dax_dev, pgoff)) => unsafe {
            bindings::dax_recovery_write(dax_dev, pgoff, addr, bytes, iter)
        },
        Err(_) => 0,
    }
}
