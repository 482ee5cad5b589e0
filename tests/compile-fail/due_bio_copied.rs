// SPDX-License-Identifier: GPL-2.0

//! A bio that is due cannot be made one that is copied.

use crate::dm::{DueBio, PutsOff};

impl<'call, 'ti, T: PutsOff<'ti>> Clone for DueBio<'call, 'ti, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'call, 'ti, T: PutsOff<'ti>> Copy for DueBio<'call, 'ti, T> {} //~ E0204
