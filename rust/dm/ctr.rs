// SPDX-License-Identifier: GPL-2.0

//! Making a target.

use super::{
    device::{self, Device},
    event::{EventList, TableEvent},
    Arg, DmTarget, Sector,
};
use crate::bindings;
use core::{marker::PhantomData, ops::Deref, ptr::NonNull};
use kernel::{alloc::AllocError, error::to_result, prelude::*};

/// Why a target could not be made: an errno for userspace, a message for the kernel log.
#[derive(Clone, Copy)]
pub struct CtrError {
    errno: Error,
    message: Option<&'static CStr>,
}

/// The result of a constructor or a part of it.
pub type CtrResult<T = ()> = Result<T, CtrError>;

impl CtrError {
    /// An error with the message that the kernel log gets (`ti->error` in C).
    pub const fn new(errno: Error, message: &'static CStr) -> Self {
        Self {
            errno,
            message: Some(message),
        }
    }

    pub(super) fn errno(&self) -> Error {
        self.errno
    }

    pub(super) fn message(&self) -> Option<&'static CStr> {
        self.message
    }
}

/// No memory for the target itself. Device mapper is told [`TargetType::NO_MEMORY`].
///
/// [`TargetType::NO_MEMORY`]: super::TargetType::NO_MEMORY
impl From<AllocError> for CtrError {
    fn from(_: AllocError) -> Self {
        Self {
            errno: ENOMEM,
            message: None,
        }
    }
}

impl From<core::convert::Infallible> for CtrError {
    fn from(never: core::convert::Infallible) -> Self {
        match never {}
    }
}

/// A target that is being made: a [`DmTarget`] whose properties can still be set and that can open
/// devices.
///
/// There is one for each call of [`Target::ctr`](super::Target::ctr), and none after it.
pub struct Constructor<'ti> {
    /// # Invariants
    ///
    /// Valid, and nobody else uses it, until the constructor returns.
    ti: NonNull<bindings::dm_target>,
    resources: Resources,
    /// `'ti` is neither longer nor shorter than it is.
    _life: PhantomData<fn(&'ti ()) -> &'ti ()>,
}

/// What a target has borrowed for `'ti`, to be given back when the target is gone.
///
/// There is one with each segment of each table. Nearly all targets have one device and nothing
/// else, so that one is here, and the rest in memory of its own.
pub(super) struct Resources {
    first: Option<NonNull<bindings::dm_dev>>,
    more: Option<KBox<More>>,
}

/// What few targets have: one reference for each further call of `dm_get_device`, and events.
struct More {
    devices: KVec<NonNull<bindings::dm_dev>>,
    events: EventList,
}

impl Resources {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            more: None,
        }
    }

    fn more(&mut self) -> Result<&mut More, AllocError> {
        let more = match self.more.take() {
            Some(more) => more,
            None => KBox::new(
                More {
                    devices: KVec::new(),
                    events: EventList::new(),
                },
                GFP_KERNEL,
            )?,
        };

        Ok(self.more.insert(more))
    }

    /// Makes room for one more device, so that [`push_device`](Self::push_device) cannot fail.
    fn reserve_device(&mut self) -> Result {
        if self.first.is_some() {
            self.more()?.devices.reserve(1, GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Takes over a reference. There must be room, see [`reserve_device`](Self::reserve_device).
    fn push_device(&mut self, dev: NonNull<bindings::dm_dev>) {
        if self.first.is_none() {
            self.first = Some(dev);
        } else if let Some(more) = &mut self.more {
            // There is room. Without it the reference would leak, which device mapper reports when
            // the table is destroyed.
            let _ = more.devices.push_within_capacity(dev);
        }
    }

    /// Waits for events, and closes all devices, the last one first.
    ///
    /// # Safety
    ///
    /// They belong to `ti`, whose constructor has failed or whose destructor is running. Nothing
    /// that was borrowed is used any more.
    pub(super) unsafe fn release(mut self, ti: NonNull<bindings::dm_target>) {
        if let Some(more) = &mut self.more {
            more.events.cancel_all();
        }
        while let Some(dev) = self.pop_device() {
            // SAFETY: The reference was held here, and is given up. The rest is as the caller says.
            unsafe { device::put(ti, dev) };
        }
    }

    fn pop_device(&mut self) -> Option<NonNull<bindings::dm_dev>> {
        let last = self.more.as_mut().and_then(|more| more.devices.pop());

        last.or_else(|| self.first.take())
    }
}

/// Sets a number of bios of the target.
macro_rules! bio_counts {
    ($($(#[$doc:meta])* $set:ident => $field:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $set(&mut self, count: u32) {
                // SAFETY: By the type invariants nobody else uses the target now.
                unsafe { (*self.ti.as_ptr()).$field = count };
            }
        )*
    };
}

/// Sets a flag of the target.
macro_rules! target_flags {
    ($($(#[$doc:meta])* $set:ident => $field:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $set(&mut self) {
                // SAFETY: By the type invariants nobody else uses the target now.
                unsafe { (*self.ti.as_ptr()).$field(true) };
            }
        )*
    };
}

impl<'ti> Constructor<'ti> {
    /// # Safety
    ///
    /// Device mapper is calling the constructor of `ti`, and the value does not outlive the call.
    /// `'ti` ends no later than the target's destructor does, or, if the constructor fails, than
    /// the call.
    pub(super) unsafe fn from_raw(ti: NonNull<bindings::dm_target>) -> Self {
        // INVARIANT: During its constructor a target is known to the caller only.
        Self {
            ti,
            resources: Resources::new(),
            _life: PhantomData,
        }
    }

    pub(super) fn into_resources(self) -> Resources {
        self.resources
    }

    /// Opens the device that `path` names (`/dev/…` or `major:minor`), with the access mode of the
    /// table.
    ///
    /// It stays open until the target is gone. Mirrors `dm_get_device()`.
    ///
    /// # Errors
    ///
    /// Those of opening a block device (`ENODEV`, `EBUSY`, `ENOTBLK`, …), with `message`.
    pub fn get_device(&mut self, path: Arg<'_>, message: &'static CStr) -> CtrResult<&'ti Device> {
        let failed = |errno| CtrError::new(errno, message);

        self.resources.reserve_device().map_err(failed)?;

        // SAFETY: By the type invariants the target is valid.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A target belongs to a table, which outlives it.
        let mode = unsafe { bindings::dm_table_get_mode(table) };
        let mut dev = core::ptr::null_mut();
        // SAFETY: The target is valid, the path is a string that lives as long as this call, and
        // `dev` can be written to.
        to_result(unsafe {
            bindings::dm_get_device(
                self.ti.as_ptr(),
                path.as_c_str().as_char_ptr(),
                mode,
                &mut dev,
            )
        })
        .map_err(failed)?;

        let dev = NonNull::new(dev).ok_or(failed(ENODEV))?;
        self.resources.push_device(dev);

        // SAFETY: `Resources` hold the reference that `dm_get_device` took. It is put after the
        // target was dropped, or when the constructor has failed: not before the end of `'ti`.
        Ok(unsafe { Device::from_raw(dev) })
    }

    /// An event that the target can raise, see [`TableEvent`].
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn event(&mut self) -> CtrResult<&'ti TableEvent> {
        // SAFETY: By the type invariants the target is valid.
        let table = unsafe { (*self.ti.as_ptr()).table };
        // SAFETY: A target belongs to a table, which outlives it; `Resources::release` is called
        // while the target is still there.
        let event = unsafe { self.resources.more()?.events.add(table) }?;

        // SAFETY: `Resources` hold the event. It is freed after the target was dropped, or when the
        // constructor has failed: not before the end of `'ti`.
        Ok(unsafe { event.as_ref() })
    }

    /// Never give the target a bio of more than `len` sectors, nor one that crosses a multiple of
    /// `len`.
    ///
    /// Mirrors `dm_set_target_max_io_len()`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not fit in 32 bits.
    pub fn set_max_io_len(&mut self, len: Sector) -> CtrResult {
        // SAFETY: By the type invariants the target is valid and ours.
        to_result(unsafe { bindings::dm_set_target_max_io_len(self.ti.as_ptr(), len) })
            .map_err(|e| CtrError::new(e, c"Maximum size of target IO is too large"))
    }

    bio_counts! {
        /// How many bios a flush becomes, zero if the target takes none.
        /// [`Bio::number`](super::Bio::number) tells them apart.
        set_num_flush_bios => num_flush_bios;
        /// How many bios a discard becomes, zero if the target takes none.
        set_num_discard_bios => num_discard_bios;
        /// How many bios a secure erase becomes, zero if the target takes none.
        set_num_secure_erase_bios => num_secure_erase_bios;
        /// How many bios a write-zeroes becomes, zero if the target takes none.
        set_num_write_zeroes_bios => num_write_zeroes_bios;
    }

    target_flags! {
        /// The target takes flushes even if none of its devices does.
        set_flush_supported => set_flush_supported;
        /// The target takes discards even if none of its devices does.
        set_discards_supported => set_discards_supported;
        /// Discards are split at multiples of the largest discard.
        set_max_discard_granularity => set_max_discard_granularity;
        /// The number of bios in flight is limited while swapping.
        set_limit_swap_bios => set_limit_swap_bios;
        /// Zone append is emulated by plain writes.
        set_emulate_zone_append => set_emulate_zone_append;
        /// Flushes need not pass through [`Target::map`](super::Target::map): device mapper may
        /// send one to each device of the table.
        set_flush_bypasses_map => set_flush_bypasses_map;
    }
}

impl Deref for Constructor<'_> {
    type Target = DmTarget;

    fn deref(&self) -> &DmTarget {
        // SAFETY: By the type invariants the target is valid, and the shared borrow of `self`
        // keeps the setters away.
        unsafe { DmTarget::from_raw(self.ti.as_ptr()) }
    }
}
