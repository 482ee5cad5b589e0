// SPDX-License-Identifier: GPL-2.0

//! Loads, shows and changes device-mapper tables.
//!
//! [`Dm`] is the way to the kernel, [`Table`] is what devices are made of, [`name`] has the
//! escaping of names. All sizes and offsets are in sectors of 512 bytes.
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
