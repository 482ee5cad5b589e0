// SPDX-License-Identifier: GPL-2.0

//! The fate of one bio cannot be passed off as that of another.

use crate::dm::{prelude::*, Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(
    first: HeldBio<'_, 'ti, T>,
    second: HeldBio<'call, 'ti, T>,
) -> Fate<'call> {
    let fate = first.end(Status::OK);

    let _ = second.end(Status::OK);
    fate //~ lifetime
}
