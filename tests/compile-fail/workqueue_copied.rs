// SPDX-License-Identifier: GPL-2.0

//! A queue cannot be copied to where it outlives its target.

use crate::dm::Workqueue;

impl Clone for Workqueue {
    fn clone(&self) -> Self {
        *self
    }
}

impl Copy for Workqueue {} //~ E0204
