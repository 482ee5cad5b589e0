// SPDX-License-Identifier: GPL-2.0

//! The pages of a bio cannot be used after it was given away.

use crate::dm::{prelude::*, Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(bio: HeldBio<'call, 'ti, T>) -> (Fate<'call>, u32) {
    let segment = bio.cursor().take(512);
    let fate = bio.end(Status::OK); //~ E0505

    (fate, segment.map_or(0, |segment| segment.len()))
}
