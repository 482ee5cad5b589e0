// SPDX-License-Identifier: GPL-2.0

//! A bio that is held may have come back in an interrupt: it does not tell that code may sleep, as it
//! does in `map`.

use crate::dm::{cond_resched, HeldBio, HoldsBios};

fn lower_done<'ti, T: HoldsBios<'ti>>(bio: &HeldBio<'_, 'ti, T>) {
    cond_resched(bio.may_sleep()); //~ E0599
}
