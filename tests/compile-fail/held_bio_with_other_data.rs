// SPDX-License-Identifier: GPL-2.0

//! Only a target that has asked for the memory can hold its bios.

use crate::dm::prelude::*;

fn map<'map>(bio: Bio<'map, u64>) -> Mapped<'map> {
    bio.hold(()).submitted(|bio| bio.end(Status::OK)) //~ E0599
}
