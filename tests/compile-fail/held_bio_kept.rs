// SPDX-License-Identifier: GPL-2.0

//! A bio that is held goes on from each call: a target cannot keep it beyond one.

use crate::dm::{HeldBio, HoldsBios};

struct Keeper<'ti, T: HoldsBios<'ti>> {
    kept: Option<HeldBio<'ti, 'ti, T>>,
}

fn work<'ti, T: HoldsBios<'ti>>(keeper: &mut Keeper<'ti, T>, bio: HeldBio<'_, 'ti, T>) {
    keeper.kept = Some(bio); //~ lifetime
}
