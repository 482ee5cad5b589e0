// SPDX-License-Identifier: GPL-2.0

//! What has completed below cannot be submitted again as it is: the block layer counts in it.

use crate::dm::{DoneBuffer, Fate, HeldBio, HoldsBios};

fn lower_done<'call, 'ti, T: HoldsBios<'ti>>(
    bio: HeldBio<'call, 'ti, T>,
    buffer: DoneBuffer<'ti>,
) -> Fate<'call> {
    bio.submit(buffer) //~ E0308
}
