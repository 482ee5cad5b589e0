// SPDX-License-Identifier: GPL-2.0

//! A bio goes to a queue of its own target: that of another may be stopped first.

use crate::dm::{Fate, HeldBio, HoldsBios, Workqueue};

fn work<'call, 'ti, 'other, T: HoldsBios<'ti>>(
    bio: HeldBio<'call, 'ti, T>,
    queue: &'other Workqueue,
) -> Fate<'call> {
    bio.queue(queue) //~ lifetime
}
