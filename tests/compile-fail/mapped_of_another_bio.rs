// SPDX-License-Identifier: GPL-2.0

//! What became of one bio cannot be passed off as what became of another.

use crate::dm::prelude::*;

fn map<'map>(first: Bio<'_>, second: Bio<'map>) -> Mapped<'map> {
    let mapped = first.end(Status::OK);

    let _ = second.end(Status::OK);
    mapped //~ lifetime
}
