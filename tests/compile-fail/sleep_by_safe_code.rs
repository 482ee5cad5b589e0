// SPDX-License-Identifier: GPL-2.0

//! No safe code says that it may sleep.

use crate::{dm::cond_resched, mem::MaySleep};

fn lower_done() {
    cond_resched(MaySleep::new()); //~ E0133
}
