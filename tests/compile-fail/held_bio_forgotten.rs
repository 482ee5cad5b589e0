// SPDX-License-Identifier: GPL-2.0

//! A bio that is held cannot be dropped instead of decided about: there is no other fate.

use crate::dm::{Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(bio: HeldBio<'call, 'ti, T>) -> Fate<'call> {
    core::mem::forget(bio);
    Fate { kind: loop {}, _call: core::marker::PhantomData } //~ E0451
}
