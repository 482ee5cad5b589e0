// SPDX-License-Identifier: GPL-2.0

//! The targets, a file each. `dm_rust.rs` holds all below to safe code.

// A constructor returns its target by value where it can.
#![allow(refining_impl_trait)]

mod stripes;

crate::dm::targets! {
    counter::Counter,
    crypt::Crypt,
    delay::Delay,
    dust::Dust,
    error::Error,
    flakey::Flakey,
    linear::Linear,
    powercut::Powercut,
    stand_in::StandIn,
    striped::Striped,
    zero::Zero,
}
