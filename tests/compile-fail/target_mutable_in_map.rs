// SPDX-License-Identifier: GPL-2.0

//! No operation has its target to itself.

#![allow(refining_impl_trait)]

use crate::dm::prelude::*;

struct Counter(u64);

#[vtable]
impl<'ti> Target<'ti> for Counter {
    type PerBio = ();

    fn ctr(_ti: &mut Constructor<'ti>, _args: Args<'_>) -> CtrResult<Self> {
        Ok(Self(0))
    }

    fn map<'map>(&mut self, _ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> { //~ E0053
        self.0 += 1;
        bio.kill()
    }
}
