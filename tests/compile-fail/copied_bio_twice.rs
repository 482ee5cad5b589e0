// SPDX-License-Identifier: GPL-2.0

//! A write of which a copy was submitted is given away with it.

use crate::dm::prelude::*;

fn map<'map>(bio: Bio<'map>, dev: &Device) -> Mapped<'map> {
    match bio.copied(dev, 0) {
        Ok(copy) => {
            let _ = copy.submit();

            bio.remap(dev, 0) //~ E0382
        }
        Err(bio) => bio.kill(),
    }
}
