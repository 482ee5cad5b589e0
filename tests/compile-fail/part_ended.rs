// SPDX-License-Identifier: GPL-2.0

//! Who works on a part of a bio cannot end it: others work on other parts.

use crate::dm::{prelude::*, HeldBio, HoldsBios};

fn part<'ti, T: HoldsBios<'ti>>(bio: &HeldBio<'_, 'ti, T>) {
    let _ = bio.end(Status::OK); //~ E0507
}
