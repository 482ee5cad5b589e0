// SPDX-License-Identifier: GPL-2.0

//! Compiles: a target that does nothing wrong. If this fails, the others prove nothing.

#![forbid(unsafe_code)]
#![allow(refining_impl_trait, dead_code)]

use crate::dm::prelude::*;

struct Type;

impl TargetType for Type {
    const NAME: &'static CStr = c"case";
    const VERSION: [u32; 3] = [1, 0, 0];
    type Target<'ti> = Whole<'ti>;
}

struct Whole<'ti>(&'ti Device);

#[vtable]
impl<'ti> Target<'ti> for Whole<'ti> {
    type PerBio = u64;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        let [dev] = args.exactly(c"Invalid argument count")?;
        Ok(Self(ti.get_device(dev, c"Device lookup failed")?))
    }

    fn map<'map>(&self, ti: &DmTarget, mut bio: Bio<'map, u64>) -> Mapped<'map> {
        *bio.data() = ti.offset(bio.sector());
        let sector = *bio.data();
        bio.remap(self.0, sector)
    }
}
