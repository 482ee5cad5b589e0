// SPDX-License-Identifier: GPL-2.0

//! The data of a bio that is held cannot be used after it was given away: they are dropped when it
//! ends, and their tags are read while it is below.

use crate::dm::{Fate, HeldBio, HoldsBios, Workqueue};

fn work<'call, 'ti, T: HoldsBios<'ti, Data = u64>>(
    mut bio: HeldBio<'call, 'ti, T>,
    queue: &'ti Workqueue,
) -> Fate<'call> {
    let data = bio.data_mut();
    let fate = bio.queue(queue); //~ E0505

    *data = 1;
    fate
}
