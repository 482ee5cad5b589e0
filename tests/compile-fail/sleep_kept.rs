// SPDX-License-Identifier: GPL-2.0

//! That code may sleep is not known longer than the call lasts.

use crate::{dm::prelude::*, mem::MaySleep};

struct Elsewhere(Option<MaySleep<'static>>);

fn map(elsewhere: &mut Elsewhere, bio: &Bio<'_>) {
    elsewhere.0 = Some(bio.may_sleep()); //~ E0521
}
