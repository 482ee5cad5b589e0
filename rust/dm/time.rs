// SPDX-License-Identifier: GPL-2.0

//! The clock.

use crate::bindings;

/// A point in time: nanoseconds of the clock that never goes back and stands still while the
/// machine sleeps. `ktime_get()` in C.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Never.
    pub const NEVER: Self = Self(u64::MAX);

    /// Now.
    pub fn now() -> Self {
        // SAFETY: Has no requirements. The clock starts at zero.
        Self(unsafe { bindings::ktime_get() } as u64)
    }

    /// So many microseconds later, at most [`NEVER`](Self::NEVER).
    pub fn after_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros.saturating_mul(1000)))
    }

    /// How many whole seconds it is since `earlier`.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000_000
    }

    pub(super) fn nanos(self) -> u64 {
        self.0
    }
}
