// SPDX-License-Identifier: GPL-2.0

//! A bio with pages of its own cannot be kept longer than the pools that they come from.

use crate::dm::{prelude::*, BufferBio, Buffers, HeldBio, HoldsBios};

struct Elsewhere(Option<BufferBio<'static>>);

fn keep<'ti, T: HoldsBios<'ti>>(
    elsewhere: &mut Elsewhere,
    buffers: &'ti Buffers,
    bio: &HeldBio<'_, 'ti, T>,
    dev: &'ti Device,
) {
    elsewhere.0 = buffers.new_bio(bio, dev, 0, None); //~ lifetime
}
