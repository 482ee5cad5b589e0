// SPDX-License-Identifier: GPL-2.0

//! Loads, shows and changes device-mapper tables.
//!
//! [`Dm`] is the way to the kernel, and has a method for each thing that can be done with a device;
//! [`Table`] is what devices are made of. Beside them:
//!
//! | | |
//! | --- | --- |
//! | [`check`] | finds what is wrong with a table before the kernel sees it |
//! | [`Dm::plan_swap`], [`Dm::swap`] | exchange a live device's targets for their twins |
//! | [`concise`] | several devices on one line, as `dmsetup --concise` has them |
//! | [`compare`] | two devices compared: limits, and data |
//! | [`stats`] | counts I/O by target |
//! | [`holders`](fn@holders) | who uses a device |
//! | [`name`] | the escaping of names and UUIDs |
//! | [`block`], [`node`] | what sysfs and `/dev` have of a device |
//!
//! All sizes and offsets are in sectors of 512 bytes, unless said otherwise. Tables may hold keys:
//! what holds them is wiped when it is dropped, and neither `Debug` nor `Display` shows them.
//!
//! ```no_run
//! use dmrs::{name, Access, Dm, NewDevice, RemoveOptions, Table, UdevSync};
//!
//! let dm = Dm::open(UdevSync::IfRunning)?;
//! let table = Table::parse("0 2048 linear /dev/sda 0").expect("a table");
//! let new = NewDevice { name: name::new_device_name("half")?, uuid: None, number: None };
//! let info = dm.create(&new, Some((&table, Access::ReadWrite)))?;
//! println!("{} is {}", info.shown_name(), info.device);
//! dm.remove(&dm.find("half")?, RemoveOptions::default())?;
//! # Ok::<(), dmrs::Error>(())
//! ```

#![warn(missing_docs)]

pub mod block;
pub mod check;
pub mod compare;
pub mod concise;
mod dm;
mod error;
mod holders;
mod ioctl;
mod kmsg;
pub mod name;
pub mod node;
pub mod stats;
mod swap;
mod table;

pub use devicemapper::{Device, DmNameBuf, DmUuidBuf};
pub use dm::{
    Access, DeviceId, Dm, Info, Listed, NewDevice, NodesMade, RemoveOptions, Slot, SuspendOptions,
    TargetVersion, UdevSync,
};
pub use error::{Action, Error, Refusal, Result};
pub use holders::{holders, Holder};
pub use swap::{Language, SwapPlan};
pub use table::{Field, Line, Problem, Source, Table, TableError, Target, MAX_TARGET_NAME};
/// Wipes from memory what it holds, when it is dropped.
pub use zeroize::Zeroizing;
