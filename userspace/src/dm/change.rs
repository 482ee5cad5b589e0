// SPDX-License-Identifier: GPL-2.0

//! Devices are made, and changed.

use devicemapper::{DevId, DmFlags, DmNameBuf, DmOptions, DmUuidBuf};

use super::{
    unsynchronised, with_reasons, Access, DeviceId, Dm, Info, NewDevice, Slot, SuspendOptions,
};
use crate::{
    error::{Action, Error, Result},
    ioctl::{self, Command, Request},
    kmsg::Mark,
    name, node,
    table::Table,
};

impl Dm {
    /// Makes a device. With a table, it is loaded and live and its node exists when this
    /// returns; without, the device is as yet suspended and has no node.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`]; the device is then gone again.
    pub fn create(&self, new: &NewDevice, table: Option<(&Table, Access)>) -> Result<Info> {
        let action = Action::Create;
        let mut flags = DmFlags::empty();
        flags.set(DmFlags::DM_PERSISTENT_DEV, new.number.is_some());
        let request = Request {
            name: Some(&new.name),
            uuid: new.uuid.as_deref(),
            number: new.number,
            flags,
            ..Request::default()
        };
        let mark = Mark::now();
        let shown = name::show_name(&new.name);
        let reply = self
            .call(action, Some(&shown), Command::Create, &request)
            .map_err(|error| with_reasons(error, mark, None))?;
        let info = Info::read(&reply, action)?;
        let Some((table, access)) = table else {
            return Ok(info);
        };
        let live = self
            .load_known(&info, table, access)
            .and_then(|()| self.resume_known(&info, SuspendOptions::default()));
        if live.is_err() {
            // What failed before is what there is to tell.
            let _ = self.remove_known(&info, DmFlags::empty());
        }
        live
    }

    /// Loads a table into the inactive slot, in the place of what was there.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`].
    pub fn load(&self, id: &DeviceId, table: &Table, access: Access) -> Result<()> {
        let info = self.info(id, Slot::Live)?;
        self.load_known(&info, table, access)
    }

    pub(super) fn load_known(&self, info: &Info, table: &Table, access: Access) -> Result<()> {
        let mut flags = DmFlags::DM_SECURE_DATA;
        flags.set(DmFlags::DM_READONLY, access == Access::ReadOnly);
        let request = Request {
            number: Some(info.device),
            flags,
            target_count: u32::try_from(table.targets.len()).unwrap_or(u32::MAX),
            data: Some(ioctl::table_data(table)),
            ..Request::default()
        };
        self.change(Action::Load, info, Command::Load, &request)
            .map(drop)
    }

    /// Empties the inactive slot.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`].
    pub fn clear(&self, id: &DeviceId) -> Result<()> {
        let info = self.info(id, Slot::Live)?;
        self.clear_known(&info)
    }

    pub(super) fn clear_known(&self, info: &Info) -> Result<()> {
        let request = Request {
            number: Some(info.device),
            ..Request::default()
        };
        self.change(Action::Clear, info, Command::Clear, &request)
            .map(drop)
    }

    /// Holds back all new I/O, after what is under way is done.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`].
    pub fn suspend(&self, id: &DeviceId, options: SuspendOptions) -> Result<()> {
        let info = self.info(id, Slot::Live)?;
        let request = Request {
            number: Some(info.device),
            flags: DmFlags::DM_SUSPEND | options.flags(),
            ..Request::default()
        };
        self.change(Action::Suspend, &info, Command::Suspend, &request)
            .map(drop)
    }

    /// Makes the inactive table live if there is one, and lets I/O go on. Its node exists when
    /// this returns.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`]; [`crate::Refusal::left_suspended`] then tells
    /// whether the device has been left suspended.
    pub fn resume(&self, id: &DeviceId, options: SuspendOptions) -> Result<Info> {
        let info = self.info(id, Slot::Live)?;
        self.resume_known(&info, options)
    }

    pub(super) fn resume_known(&self, info: &Info, options: SuspendOptions) -> Result<Info> {
        let action = Action::Resume;
        let resumed = if self.waits_for_udev() {
            let mark = Mark::now();
            let options = DmOptions::default().set_flags(options.flags());
            self.udev(action, info, mark, |dm, id| dm.device_suspend(id, options))
        } else {
            let request = Request {
                number: Some(info.device),
                flags: options.flags(),
                event_nr: unsynchronised(),
                ..Request::default()
            };
            self.change(action, info, Command::Suspend, &request)
                .map(drop)
        };
        resumed.map_err(|error| match error {
            Error::Refused(mut refusal) => {
                let now = self.info(&DeviceId::Number(info.device), Slot::Live);
                refusal.left_suspended = now.is_ok_and(|now| now.suspended && now.live_table);
                Error::Refused(refusal)
            }
            other => other,
        })?;
        node::ensure(&info.name, info.device)?;
        self.info(&DeviceId::Number(info.device), Slot::Live)
    }

    /// Sends a message to the target that serves `sector` (of 512 bytes), and gives its answer
    /// if it has one. A message that begins with `@` is for the device itself.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`].
    pub fn message(&self, id: &DeviceId, sector: u64, message: &str) -> Result<Option<String>> {
        let action = Action::Message;
        let info = self.info(id, Slot::Live)?;
        let request = Request {
            number: Some(info.device),
            flags: DmFlags::DM_SECURE_DATA,
            data: Some(ioctl::message_data(sector, message)),
            ..Request::default()
        };
        self.change(action, &info, Command::Message, &request)?
            .message()
            .map_err(|_| Error::Malformed(action))
    }

    /// Gives a device another name, and its node with it.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`], among others if the name is taken.
    pub fn rename(&self, id: &DeviceId, name: &DmNameBuf) -> Result<Info> {
        let action = Action::Rename;
        let info = self.info(id, Slot::Live)?;
        if self.waits_for_udev() {
            self.udev(action, &info, Mark::now(), |dm, id| match id {
                DevId::Name(old) => dm.device_rename(old, &DevId::Name(name)),
                DevId::Uuid(_) => unreachable!("udev() names devices"),
            })?;
        } else {
            self.rename_request(action, &info, &name.to_string(), DmFlags::empty())?;
        }
        let now = self.info(&DeviceId::Number(info.device), Slot::Live)?;
        node::remove(&info.name, info.device, !self.waits_for_udev())?;
        // A device without a table has no node.
        if now.live_table {
            node::ensure(&now.name, now.device)?;
        }
        Ok(now)
    }

    /// Gives a UUID to a device that has none.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`], among others if it has a UUID.
    pub fn set_uuid(&self, id: &DeviceId, uuid: &DmUuidBuf) -> Result<Info> {
        let action = Action::SetUuid;
        let info = self.info(id, Slot::Live)?;
        if self.waits_for_udev() {
            self.udev(action, &info, Mark::now(), |dm, id| match id {
                DevId::Name(old) => dm.device_rename(old, &DevId::Uuid(uuid)),
                DevId::Uuid(_) => unreachable!("udev() names devices"),
            })?;
        } else {
            self.rename_request(action, &info, &uuid.to_string(), DmFlags::DM_UUID)?;
        }
        self.info(&DeviceId::Number(info.device), Slot::Live)
    }

    fn rename_request(&self, action: Action, info: &Info, to: &str, flags: DmFlags) -> Result<()> {
        let request = Request {
            // The kernel looks for the device to rename by its name alone.
            name: Some(&info.name),
            flags,
            event_nr: unsynchronised(),
            data: Some(ioctl::string_data(to)),
            ..Request::default()
        };
        self.change(action, info, Command::Rename, &request)
            .map(drop)
    }
}
