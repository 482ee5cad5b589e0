// SPDX-License-Identifier: GPL-2.0

//! A bio that is held cannot be made one that is copied either.

use crate::dm::{HeldBio, HoldsBios};

impl<'ti, T: HoldsBios<'ti>> Clone for HeldBio<'_, 'ti, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'ti, T: HoldsBios<'ti>> Copy for HeldBio<'_, 'ti, T> {} //~ E0204
