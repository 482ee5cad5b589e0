// SPDX-License-Identifier: GPL-2.0

//! The per-bio data cannot be used after the bio was given away.

use crate::dm::prelude::*;

fn map<'map>(mut bio: Bio<'map, u64>, dev: &Device) -> Mapped<'map> {
    let data = bio.data();
    let mapped = bio.remap(dev, 0); //~ E0505

    *data = 1;
    mapped
}
