// SPDX-License-Identifier: GPL-2.0

//! Measures the targets beside their in-tree twins.
//!
//! `guest-bench` measures in the guest and prints a [`Record`] a line; `bench-report` makes the
//! report of them, and compares reports. What is measured is in [`subject`] and [`row`]: a new
//! target is one entry of [`subject::SUBJECTS`].
//!
//! Instructions are counted by the guest's time stamp counter, in a QEMU that advances it by one
//! with each instruction (`-icount shift=0`); see [`clock`].

pub mod clock;
pub mod record;
pub mod row;
pub mod subject;

pub use record::{Record, Who};
