// SPDX-License-Identifier: GPL-2.0

//! The per-bio data of a bio that is held point to its target: none can be made that point to
//! another, which might be gone when a queue calls it.

use crate::dm::{prelude::*, Held, HoldsBios, PerBioData};

fn map<'map, 'ti, T: HoldsBios<'ti>>(mut bio: Bio<'map, Held<'ti, T>>, local: T) -> Mapped<'map> {
    *bio.data() = Held::new(&local); //~ E0133
    bio.kill()
}
