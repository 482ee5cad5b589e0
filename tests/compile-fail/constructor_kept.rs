// SPDX-License-Identifier: GPL-2.0

//! A constructor is over when it returns: devices are opened and pools made in no other place.

use crate::dm::prelude::*;

struct Keeper<'ti>(Option<&'ti mut Constructor<'ti>>);

fn ctr<'ti>(keeper: &mut Keeper<'ti>, ti: &mut Constructor<'ti>) {
    keeper.0 = Some(ti); //~ lifetime
}
