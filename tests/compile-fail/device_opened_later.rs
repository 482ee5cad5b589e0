// SPDX-License-Identifier: GPL-2.0

//! Only a constructor opens devices: `map` may not sleep, and the table's list of devices is not
//! locked.

use crate::dm::prelude::*;

fn map(ti: &DmTarget, arg: Arg<'_>) {
    let _ = ti.get_device(arg, c"Device lookup failed"); //~ E0599
}
