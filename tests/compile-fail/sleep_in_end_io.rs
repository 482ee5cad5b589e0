// SPDX-License-Identifier: GPL-2.0

//! Where a bio completes nothing waits: what waits wants a word that it may, and there is none.

use crate::{dm::EndBio, mem::Pool};

fn end_io(pool: &'static Pool, bio: &EndBio<'_, ()>) {
    drop(pool.take(Some(bio.may_sleep()))); //~ E0599
}
