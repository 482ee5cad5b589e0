// SPDX-License-Identifier: GPL-2.0

//! What a settled value is changed through cannot be kept beyond the change.

use crate::{dm::Settled, mem::MaySleep};

fn message<'a>(settled: &'a Settled<'_, u64>, sleep: MaySleep<'_>) -> Option<&'a mut u64> {
    settled.change(sleep, |value| value) //~ lifetime
}
