// SPDX-License-Identifier: GPL-2.0

//! What becomes of one bio says nothing about another.

use crate::dm::{prelude::*, DueBio, Next, PutsOff};

fn due<'a, 'b, 'ti, T: PutsOff<'ti>>(_: DueBio<'a, 'ti, T>, b: DueBio<'b, 'ti, T>) -> Next<'a> {
    b.end(Status::OK) //~ lifetime may not live long enough
}
