// SPDX-License-Identifier: GPL-2.0

//! The targets, a file each. No unsafe code is possible below this line.

#![forbid(unsafe_code)]
// A constructor returns its target by value where it can.
#![allow(refining_impl_trait)]

crate::dm::targets! {
    linear::Linear,
}
