// SPDX-License-Identifier: GPL-2.0

//! A bio that is held cannot be dropped or forgotten instead of decided about: what has to be
//! returned comes of it only.

use crate::dm::{Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(bio: HeldBio<'call, 'ti, T>) -> Fate<'call> { //~ E0308
    core::mem::forget(bio);
}
