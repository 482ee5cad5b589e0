// SPDX-License-Identifier: GPL-2.0

//! Time as the kernel's timers count it.

use rustix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// The time of the kernel's last tick, which is when it counted `jiffies`. An emulated guest that
/// has to wait for its CPUs runs behind the clock, and its timers with it: by the clock they may end
/// early, by this never.
#[derive(Clone, Copy, Debug)]
pub struct Ticks(Duration);

impl Ticks {
    /// More than a tick of any kernel.
    pub const TICK: Duration = Duration::from_millis(10);

    /// Of the last tick.
    pub fn now() -> Ticks {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        Ticks(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    /// From then to the last tick.
    pub fn elapsed(&self) -> Duration {
        Ticks::now().0.saturating_sub(self.0)
    }
}
