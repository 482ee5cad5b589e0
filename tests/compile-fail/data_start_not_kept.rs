// SPDX-License-Identifier: GPL-2.0

//! Only a target that keeps where data start can change them when a bio has completed.

use crate::dm::prelude::*;

fn end_io<'end>(mut bio: EndBio<'end, bool>) -> Ended<'end> {
    bio.set_byte(0, 0); //~ E0599
    bio.done(Status::OK)
}
