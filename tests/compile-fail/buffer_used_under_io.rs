// SPDX-License-Identifier: GPL-2.0

//! A bio with pages of its own is gone while it is under I/O.

use crate::dm::{BufferBio, Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(
    bio: HeldBio<'call, 'ti, T>,
    buffer: BufferBio<'ti>,
) -> (Fate<'call>, u32) {
    let fate = bio.submit(buffer);

    (fate, buffer.cursor().left()) //~ E0382
}
