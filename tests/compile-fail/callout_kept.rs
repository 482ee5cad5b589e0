// SPDX-License-Identifier: GPL-2.0

//! What device mapper wants to be called with is not called after it has returned.

use crate::dm::prelude::*;

struct Keeper<'a>(Option<&'a mut Callout<'a>>);

fn iterate_devices<'a>(keeper: &mut Keeper<'a>, callout: &mut Callout<'_>) {
    keeper.0 = Some(callout); //~ lifetime
}
