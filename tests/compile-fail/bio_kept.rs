// SPDX-License-Identifier: GPL-2.0

//! A bio cannot be kept beyond the call that has to decide about it.

use crate::dm::prelude::*;

struct Keeper<'ti> {
    kept: Option<Bio<'ti>>,
}

fn map<'ti>(keeper: &mut Keeper<'ti>, bio: Bio<'_>) {
    keeper.kept = Some(bio); //~ lifetime
}
