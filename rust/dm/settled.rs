// SPDX-License-Identifier: GPL-2.0

//! What a target changes only while its device is suspended, and so reads without a lock.

use super::{HeldBio, HoldsBios};
use crate::mem::MaySleep;
use core::{cell::UnsafeCell, marker::PhantomData};
use kernel::{new_mutex, prelude::*, sync::Mutex};

/// Whether the device is suspended: no bio is in flight, and none will be before it is resumed.
///
/// # Invariants
///
/// `open` is true only between `postsuspend` and `resume` of the target.
#[pin_data]
pub struct Gate {
    #[pin]
    open: Mutex<bool>,
}

impl Gate {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            open <- new_mutex!(false, "dm_rust::Gate"),
        })
    }

    /// Opens or closes the gate. Waits for a change that is being made.
    ///
    /// # Safety
    ///
    /// Called by the abstraction when device mapper calls `postsuspend` and `resume`.
    pub(super) unsafe fn set(&self, open: bool) {
        *self.open.lock() = open;
    }
}

/// A value that is read while a bio is held, and changed while the device is suspended.
///
/// Made by [`Constructor::settled`](super::Constructor::settled). The target has to implement
/// `postsuspend` or `resume`, else the value cannot be changed.
pub struct Settled<'ti, V> {
    gate: &'ti Gate,
    value: UnsafeCell<V>,
    _life: PhantomData<fn(&'ti ()) -> &'ti ()>,
}

// SAFETY: The value goes along.
unsafe impl<V: Send> Send for Settled<'_, V> {}
// SAFETY: The value is shared by those that hold a bio, and changed by one at a time when nobody
// does.
unsafe impl<V: Send + Sync> Sync for Settled<'_, V> {}

impl<'ti, V> Settled<'ti, V> {
    pub(super) fn new(gate: &'ti Gate, value: V) -> Self {
        Self {
            gate,
            value: UnsafeCell::new(value),
            _life: PhantomData,
        }
    }

    /// The value, for as long as the bio is held.
    #[inline(always)]
    pub fn get<'a, T: HoldsBios<'ti>>(&'a self, _bio: &'a HeldBio<'_, 'ti, T>) -> &'a V {
        // SAFETY: A bio of this target (they have the same `'ti`) has not completed, so the device
        // is not suspended and the gate is closed.
        unsafe { &*self.value.get() }
    }

    /// Changes the value, if the device is suspended. It stays suspended meanwhile.
    pub fn change<R>(&self, _sleep: MaySleep<'_>, change: impl FnOnce(&mut V) -> R) -> Option<R> {
        let open = self.gate.open.lock();

        if !*open {
            return None;
        }
        // SAFETY: The gate is open and stays so while it is locked: no bio is held. Whoever else
        // wants to change the value waits for the lock.
        let value = unsafe { &mut *self.value.get() };

        Some(change(value))
    }
}
