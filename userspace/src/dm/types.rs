// SPDX-License-Identifier: GPL-2.0

//! What the requests to device-mapper are made of, and what comes back.

use std::fs;

use devicemapper::{Device, DmFlags, DmNameBuf, DmUuidBuf};

use crate::{
    error::{Action, Error, Result},
    ioctl::{Failure, Reply, Request},
    name,
};

/// By what a device is known to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceId {
    /// Its name, escaped as the kernel has it (see [`name::device_name`]).
    Name(DmNameBuf),
    /// Its UUID, escaped as the kernel has it (see [`name::device_uuid`]).
    Uuid(DmUuidBuf),
    /// Its number.
    Number(Device),
}

impl DeviceId {
    pub(super) fn request(&self) -> Request<'_> {
        let mut request = Request::default();
        match self {
            DeviceId::Name(name) => request.name = Some(name),
            DeviceId::Uuid(uuid) => request.uuid = Some(uuid),
            DeviceId::Number(number) => request.number = Some(*number),
        }
        request
    }
}

impl std::fmt::Display for DeviceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceId::Name(name) => f.write_str(&name::show_name(name)),
            DeviceId::Uuid(uuid) => write!(f, "with UUID {}", name::show_uuid(uuid)),
            DeviceId::Number(number) => number.fmt(f),
        }
    }
}

/// Which of a device's two tables is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// The one that serves I/O.
    #[default]
    Live,
    /// The one that was loaded, and that resuming makes live.
    Inactive,
}

impl Slot {
    pub(super) fn flags(self) -> DmFlags {
        match self {
            Slot::Live => DmFlags::empty(),
            Slot::Inactive => DmFlags::DM_QUERY_INACTIVE_TABLE,
        }
    }
}

/// Whether to wait until udev has done its part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdevSync {
    /// Where udev runs, unless the environment variable `DM_DISABLE_UDEV` is set.
    #[default]
    IfRunning,
    /// Never: nodes are made and removed here.
    Never,
}

/// A device that is to be made.
#[derive(Clone, Debug)]
pub struct NewDevice {
    /// Its name, escaped (see [`name::new_device_name`]).
    pub name: DmNameBuf,
    /// Its UUID, escaped (see [`name::device_uuid`]).
    pub uuid: Option<DmUuidBuf>,
    /// Its number, if the kernel is not to choose. The kernel only looks at the minor number.
    pub number: Option<Device>,
}

/// Whether a table's device can be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// It can be read and written.
    #[default]
    ReadWrite,
    /// It can only be read, and devices that can only be read will do below it.
    ReadOnly,
}

/// How to suspend a device, or how resuming suspends it in order to exchange its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuspendOptions {
    /// Do not wait for I/O that the targets hold back: it is queued again.
    pub no_flush: bool,
    /// Do not freeze a file system that is on the device.
    pub no_lock_fs: bool,
}

impl SuspendOptions {
    pub(super) fn flags(self) -> DmFlags {
        let mut flags = DmFlags::empty();
        flags.set(DmFlags::DM_NOFLUSH, self.no_flush);
        flags.set(DmFlags::DM_SKIP_LOCKFS, self.no_lock_fs);
        flags
    }
}

/// How to remove a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// First put a table in place that fails all I/O, so that no I/O holds the device.
    pub force: bool,
    /// While the device is in use, try again for 5 s.
    pub retry: bool,
    /// If the device is in use, let the kernel remove it as soon as it no longer is.
    pub deferred: bool,
}

/// The state of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name, escaped as the kernel has it.
    pub name: DmNameBuf,
    /// Its UUID, escaped as the kernel has it.
    pub uuid: Option<DmUuidBuf>,
    /// Its number.
    pub device: Device,
    /// How many have it open.
    pub open_count: u32,
    /// How many events its targets have raised.
    pub event_nr: u32,
    /// How many targets the table in question has.
    pub target_count: u32,
    /// Whether I/O is held back.
    pub suspended: bool,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether it has a live table.
    pub live_table: bool,
    /// Whether it has an inactive table.
    pub inactive_table: bool,
    /// Whether the kernel removes it once nobody has it open.
    pub deferred_remove: bool,
}

impl Info {
    pub(super) fn read(reply: &Reply, action: Action) -> Result<Info> {
        let parts = || -> std::result::Result<Info, Failure> {
            let flags = reply.flags()?;
            let uuid = reply.uuid()?;
            Ok(Info {
                name: DmNameBuf::new(reply.name()?).map_err(|_| Failure::Malformed)?,
                uuid: match uuid.as_str() {
                    "" => None,
                    _ => Some(DmUuidBuf::new(uuid).map_err(|_| Failure::Malformed)?),
                },
                device: reply.device()?,
                open_count: reply.open_count()?,
                event_nr: reply.event_nr()?,
                target_count: reply.target_count()?,
                suspended: flags.contains(DmFlags::DM_SUSPEND),
                read_only: flags.contains(DmFlags::DM_READONLY),
                live_table: flags.contains(DmFlags::DM_ACTIVE_PRESENT),
                inactive_table: flags.contains(DmFlags::DM_INACTIVE_PRESENT),
                deferred_remove: flags.contains(DmFlags::DM_DEFERRED_REMOVE),
            })
        };
        parts().map_err(|_| Error::Malformed(action))
    }

    /// Its name as people write it.
    pub fn shown_name(&self) -> String {
        name::show_name(&self.name)
    }

    /// How much is read ahead of sequential reads, in sectors of 512 bytes; `None` if sysfs does
    /// not tell.
    pub fn read_ahead(&self) -> Option<u64> {
        let path = format!("/sys/dev/block/{}/bdi/read_ahead_kb", self.device);
        let kib: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(kib * 2)
    }
}

/// A device in the list of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, escaped as the kernel has it.
    pub name: DmNameBuf,
    /// Its number.
    pub device: Device,
}

/// A target that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetVersion {
    /// The target's name.
    pub name: String,
    /// Major number, minor number and patch level.
    pub version: [u32; 3],
}
