// SPDX-License-Identifier: GPL-2.0

//! What devices are asked.

use devicemapper::{Device, DmFlags, DmNameBuf};
use nix::errno::Errno;

use super::{DeviceId, Dm, Info, Slot};
use crate::{
    error::{Action, Error, Result},
    ioctl::{Command, Request},
    table::Table,
};

impl Dm {
    /// The state of a device. [`Info::target_count`] is of the table in `slot`.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] if there is none such.
    pub fn info(&self, id: &DeviceId, slot: Slot) -> Result<Info> {
        let action = Action::Info;
        let request = Request {
            flags: slot.flags(),
            ..id.request()
        };
        let reply = self.call(action, Some(id), Command::DeviceStatus, &request)?;
        Info::read(&reply, action)
    }

    /// The table of a device, keys included. It is empty if there is none in that slot.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] if there is no such device.
    pub fn table(&self, id: &DeviceId, slot: Slot) -> Result<(Info, Table)> {
        let flags = DmFlags::DM_STATUS_TABLE | DmFlags::DM_SECURE_DATA | slot.flags();
        self.table_status(Action::Table, id, flags)
    }

    /// What the targets of a device say of their state, as the arguments of a table. With
    /// `no_flush`, targets do not write their metadata out first.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] if there is no such device.
    pub fn status(&self, id: &DeviceId, slot: Slot, no_flush: bool) -> Result<(Info, Table)> {
        let mut flags = slot.flags();
        flags.set(DmFlags::DM_NOFLUSH, no_flush);
        self.table_status(Action::Status, id, flags)
    }

    fn table_status(&self, action: Action, id: &DeviceId, flags: DmFlags) -> Result<(Info, Table)> {
        let request = Request {
            flags,
            ..id.request()
        };
        let reply = self.call(action, Some(id), Command::TableStatus, &request)?;
        let table = reply.table().map_err(|_| Error::Malformed(action))?;
        Ok((Info::read(&reply, action)?, table))
    }

    /// The devices that a device's table uses.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] if there is no such device.
    pub fn dependencies(&self, id: &DeviceId, slot: Slot) -> Result<(Info, Vec<Device>)> {
        let action = Action::Dependencies;
        let request = Request {
            flags: slot.flags(),
            ..id.request()
        };
        let reply = self.call(action, Some(id), Command::Dependencies, &request)?;
        let devices = reply.dependencies().map_err(|_| Error::Malformed(action))?;
        Ok((Info::read(&reply, action)?, devices))
    }

    /// Waits until a device's event number is greater than `event_nr`, and gives its state.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] if there is no such device, [`Error::Refused`] if it is removed
    /// meanwhile or the wait is interrupted.
    pub fn wait(&self, id: &DeviceId, event_nr: u32, no_flush: bool) -> Result<Info> {
        let action = Action::Wait;
        let mut request = Request {
            event_nr,
            ..id.request()
        };
        request.flags.set(DmFlags::DM_NOFLUSH, no_flush);
        let reply = self.call(action, Some(id), Command::Wait, &request)?;
        Info::read(&reply, action)
    }

    /// Whether the kernel has the target `name` or can load a module that has it. The module
    /// stays loaded.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`], or [`Error::Refused`] by a kernel older than 4.19, which knows no such
    /// request.
    pub fn can_have_target(&self, name: &str) -> Result<bool> {
        let Ok(target) = DmNameBuf::new(name.to_owned()) else {
            return Ok(false);
        };
        let request = Request {
            name: Some(&target),
            ..Request::default()
        };
        match self.call(Action::Targets, None, Command::TargetVersion, &request) {
            Ok(_) => Ok(true),
            Err(Error::Refused(refusal)) if refusal.errno == Errno::EINVAL => Ok(false),
            Err(error) => Err(error),
        }
    }
}
