// SPDX-License-Identifier: GPL-2.0

//! A bio that is due is decided about once.

use crate::dm::{prelude::*, DueBio, Moment, Next, PutsOff};

fn due<'call, 'ti, T: PutsOff<'ti>>(bio: DueBio<'call, 'ti, T>) -> Next<'call> {
    let _ = bio.end(Status::OK);

    bio.later(Moment::now()) //~ E0382
}
