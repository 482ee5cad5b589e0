// SPDX-License-Identifier: GPL-2.0

//! A bio is completed once.

use crate::dm::prelude::*;

fn map<'map>(bio: Bio<'map>) -> Mapped<'map> {
    let _ = bio.end(Status::OK);

    bio.end(Status::OK) //~ E0382
}
