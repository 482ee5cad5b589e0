// SPDX-License-Identifier: GPL-2.0

//! A bio cannot be made one that is copied, although targets are in the same crate.

use crate::dm::prelude::*;

impl<P> Clone for Bio<'_, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Bio<'_, P> {} //~ E0204
