// SPDX-License-Identifier: GPL-2.0

//! A bio that is due is decided about in the call that it came with.

use crate::dm::{DueBio, PutsOff};

fn keep<'call, 'ti, T: PutsOff<'ti>>(bio: DueBio<'call, 'ti, T>) -> DueBio<'static, 'ti, T> {
    bio //~ lifetime may not live long enough
}
