// SPDX-License-Identifier: GPL-2.0

//! A bio that was remapped is gone.

use crate::dm::prelude::*;

fn map<'map>(bio: Bio<'map>, dev: &Device) -> (Mapped<'map>, Sector) {
    let mapped = bio.remap(dev, 0);

    (mapped, bio.sector()) //~ E0382
}
