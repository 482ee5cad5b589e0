// SPDX-License-Identifier: GPL-2.0

//! A bio ends on any CPU, and its data are dropped there.

#![allow(refining_impl_trait)]

use crate::dm::prelude::*;

struct Whole;

#[derive(Default)]
struct Here(Option<core::ptr::NonNull<u8>>);

#[vtable]
impl<'ti> Target<'ti> for Whole {
    type PerBio = Here; //~ E0277

    fn ctr(_ti: &mut Constructor<'ti>, _args: Args<'_>) -> CtrResult<Self> {
        Ok(Self)
    }

    fn map<'map>(&self, _ti: &DmTarget, bio: Bio<'map, Here>) -> Mapped<'map> {
        bio.kill()
    }
}
