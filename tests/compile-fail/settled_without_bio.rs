// SPDX-License-Identifier: GPL-2.0

//! A settled value is read by who holds a bio of the same target: the device is not suspended then.

use crate::dm::{HeldBio, HoldsBios, Settled};

fn get<'a, 'ti, 'other, T: HoldsBios<'other>>(
    settled: &'a Settled<'ti, u64>,
    bio: &'a HeldBio<'_, 'other, T>,
) -> &'a u64 {
    settled.get(bio) //~ lifetime
}
