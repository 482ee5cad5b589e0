// SPDX-License-Identifier: GPL-2.0

//! The buffer of a status line does not live longer than the call.

use crate::dm::prelude::*;

struct Keeper<'a>(Option<&'a mut StatusLine<'a>>);

fn status<'a>(keeper: &mut Keeper<'a>, out: &mut StatusLine<'_>) {
    keeper.0 = Some(out); //~ lifetime
}
