// SPDX-License-Identifier: GPL-2.0

//! `map` runs on several CPUs at once, so what a target shares must be made for that.

#![allow(refining_impl_trait)]

use crate::dm::prelude::*;
use core::cell::Cell;

struct Counter(Cell<u64>);

#[vtable]
impl<'ti> Target<'ti> for Counter { //~ E0277
    type PerBio = ();

    fn ctr(_ti: &mut Constructor<'ti>, _args: Args<'_>) -> CtrResult<Self> {
        Ok(Self(Cell::new(0)))
    }

    fn map<'map>(&self, _ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        self.0.set(self.0.get() + 1);
        bio.kill()
    }
}
