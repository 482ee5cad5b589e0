// SPDX-License-Identifier: GPL-2.0

//! Limits of the mapped device's queue.

use crate::bindings;
use kernel::{ffi::c_uint, types::Opaque};

/// The limits that a target may change in [`Target::io_hints`](super::Target::io_hints),
/// `struct queue_limits` in C.
///
/// # Invariants
///
/// Nobody else uses the limits.
#[repr(transparent)]
pub struct QueueLimits(Opaque<bindings::queue_limits>);

/// A getter and a setter for each limit.
macro_rules! limits {
    ($($(#[$doc:meta])* $get:ident, $set:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $get(&self) -> c_uint {
                // SAFETY: By the type invariants the limits are valid, and nobody changes them.
                unsafe { (*self.0.get()).$get }
            }

            #[doc = concat!("Sets [`", stringify!($get), "`](Self::", stringify!($get), ").")]
            pub fn $set(&mut self, value: c_uint) {
                // SAFETY: By the type invariants the limits are valid, and nobody else's.
                unsafe { (*self.0.get()).$get = value };
            }
        )*
    };
}

/// A getter and a setter for each size of a block.
macro_rules! block_sizes {
    ($($(#[$doc:meta])* $get:ident, $set:ident;)*) => {
        $(
            $(#[$doc])*
            pub fn $get(&self) -> c_uint {
                // SAFETY: By the type invariants the limits are valid, and nobody changes them.
                unsafe { (*self.0.get()).$get }
            }

            #[doc = concat!("Sets [`", stringify!($get), "`](Self::", stringify!($get), ").")]
            ///
            /// What is no power of two, or less than 512, changes nothing: the block layer divides
            /// by this before it checks it.
            pub fn $set(&mut self, value: c_uint) {
                if value.is_power_of_two() && value >> bindings::SECTOR_SHIFT != 0 {
                    // SAFETY: By the type invariants the limits are valid, and nobody else's.
                    unsafe { (*self.0.get()).$get = value };
                }
            }
        )*
    };
}

impl QueueLimits {
    /// # Safety
    ///
    /// `limits` is valid for `'a`, and nobody else uses it.
    pub(super) unsafe fn from_raw<'a>(limits: *mut bindings::queue_limits) -> &'a mut Self {
        // SAFETY: The caller says so; the type is transparent.
        unsafe { &mut *limits.cast() }
    }

    block_sizes! {
        /// The smallest unit that can be addressed, in bytes.
        logical_block_size, set_logical_block_size;
        /// The smallest unit that is written as a whole, in bytes.
        physical_block_size, set_physical_block_size;
    }

    limits! {
        /// The smallest request that is not slow, in bytes.
        io_min, set_io_min;
        /// The best size of a request, in bytes.
        io_opt, set_io_opt;
        /// No request crosses a multiple of this, in sectors; 0 if any may.
        chunk_sectors, set_chunk_sectors;
        /// The largest request that the device takes, in sectors.
        max_hw_sectors, set_max_hw_sectors;
        /// The largest discard that the device takes, in sectors.
        max_hw_discard_sectors, set_max_hw_discard_sectors;
        /// The smallest unit of a discard, in bytes.
        discard_granularity, set_discard_granularity;
        /// The largest secure erase, in sectors.
        max_secure_erase_sectors, set_max_secure_erase_sectors;
        /// The largest write-zeroes, in sectors.
        max_write_zeroes_sectors, set_max_write_zeroes_sectors;
        /// The largest piece of memory of a request, in bytes.
        max_segment_size, set_max_segment_size;
        /// How memory addresses must be aligned, as a mask.
        dma_alignment, set_dma_alignment;
        /// The largest atomic write that the hardware takes as one, in bytes.
        atomic_write_hw_unit_max, set_atomic_write_hw_unit_max;
        /// The largest atomic write that the hardware takes in several units, in bytes.
        atomic_write_hw_max, set_atomic_write_hw_max;
    }
}
