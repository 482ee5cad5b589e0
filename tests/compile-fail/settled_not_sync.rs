// SPDX-License-Identifier: GPL-2.0

//! Bios are held on several CPUs at once, so a settled value is shared by threads.

use crate::dm::Settled;
use core::cell::Cell;

fn shared<T: Sync>() {}

fn settled() {
    shared::<Settled<'static, Cell<u64>>>(); //~ E0277
}
