// SPDX-License-Identifier: GPL-2.0

//! Harness for the tests that run in the guest.
//!
//! A test is a [`case::Case`]: a name such as `linear::status::table`, a time
//! limit and a function that is given a [`case::Ctx`]. It gets lower devices
//! from [`lower`], stacks [`dm::MappedDevice`]s on them, and, wherever the
//! in-tree target can do the same, runs one scenario on both through
//! [`twin::Target::compare`]. What every target must have in common with its
//! in-tree twin is in [`scenario`], so that a new target plugs in with its
//! name and its table shapes.
//!
//! Around each test the kernel log is read ([`kmsg`]): a warning, or a line of
//! the module that the test did not take, fails it. Resources are RAII, and
//! one that cannot be cleaned up fails its test too ([`cleanup`]).
//!
//! Sectors are 512 bytes everywhere, as in the block layer.

pub mod case;
pub mod cgroup;
pub mod cleanup;
pub mod deadline;
pub mod disk;
pub mod dm;
pub mod fio;
pub mod fs;
pub mod fuzz;
pub mod ima;
pub mod integrity;
pub mod kmsg;
pub mod lower;
pub mod model;
pub mod module;
pub mod process;
pub mod scenario;
pub mod setting;
pub mod slab;
pub mod sys;
pub mod sysfs;
pub mod terminal;
pub mod ticks;
pub mod trace;
pub mod twin;
pub mod wait;
pub mod zones;

/// Bytes in a sector of the block layer.
pub const SECTOR: u64 = 512;

/// Bytes as tables have keys, in hexadecimal.
pub fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    use std::fmt::Write;
    bytes.into_iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
