// SPDX-License-Identifier: GPL-2.0

//! Safe code cannot register a target type: it could not keep it until no table uses it.

use crate::dm::TargetList;
use kernel::prelude::*;

fn register(module: &'static ThisModule) {
    let _ = <() as TargetList>::register(module); //~ E0133
}
