// SPDX-License-Identifier: GPL-2.0

//! A settled value cannot be read after the bio was given away: the device may be suspended then.

use crate::dm::{prelude::*, Fate, HeldBio, HoldsBios, Settled};

fn work<'call, 'ti, T: HoldsBios<'ti>>(
    settled: &Settled<'ti, Atomic<u64>>,
    bio: HeldBio<'call, 'ti, T>,
) -> Fate<'call> {
    let value = settled.get(&bio);
    let fate = bio.end(Status::OK); //~ E0505

    value.add(1, Relaxed);
    fate
}

use kernel::sync::atomic::{Atomic, Relaxed};
