// SPDX-License-Identifier: GPL-2.0

//! That code may sleep is true of one thread: it cannot go along with a bio, which others complete.

use crate::mem::MaySleep;

fn kept_with_a_bio<T: Send>() {}

fn data() {
    kept_with_a_bio::<Option<MaySleep<'static>>>(); //~ E0277
}
