// SPDX-License-Identifier: GPL-2.0

//! A bio that is held is completed once.

use crate::dm::{prelude::*, Fate, HeldBio, HoldsBios};

fn work<'call, 'ti, T: HoldsBios<'ti>>(bio: HeldBio<'call, 'ti, T>) -> Fate<'call> {
    let _ = bio.end(Status::OK);

    bio.end(Status::OK) //~ E0382
}
