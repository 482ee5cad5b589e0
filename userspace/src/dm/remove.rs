// SPDX-License-Identifier: GPL-2.0

//! Devices are removed.

use std::{
    thread,
    time::{Duration, Instant},
};

use devicemapper::{DmFlags, DmOptions};
use nix::errno::Errno;
use zeroize::Zeroizing;

use super::{unsynchronised, Access, DeviceId, Dm, Info, RemoveOptions, Slot, SuspendOptions};
use crate::{
    error::{Action, Error, Result},
    holders,
    ioctl::{Command, Request},
    kmsg::Mark,
    node,
    table::{Table, Target},
};

/// For how long a removal is tried again, as in libdevmapper.
const REMOVE_PATIENCE: Duration = Duration::from_secs(5);
const REMOVE_DELAY: Duration = Duration::from_millis(200);

impl Dm {
    /// Removes a device, and its node.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`] or [`Error::Refused`], among others if the device is in use.
    pub fn remove(&self, id: &DeviceId, options: RemoveOptions) -> Result<()> {
        let info = self.info(id, Slot::Live)?;
        if options.force {
            self.fail_all_io(&info);
        }
        let mut flags = DmFlags::empty();
        flags.set(DmFlags::DM_DEFERRED_REMOVE, options.deferred);
        let deadline = Instant::now() + REMOVE_PATIENCE;
        loop {
            match self.remove_known(&info, flags) {
                Err(Error::Refused(refusal))
                    if refusal.errno == Errno::EBUSY
                        && options.retry
                        && Instant::now() < deadline =>
                {
                    thread::sleep(REMOVE_DELAY);
                }
                result => return result,
            }
        }
    }

    pub(super) fn remove_known(&self, info: &Info, flags: DmFlags) -> Result<()> {
        let action = Action::Remove;
        let number = DeviceId::Number(info.device);
        let open_count = |error| match error {
            Error::Refused(mut refusal) if refusal.errno == Errno::EBUSY => {
                refusal.open_count = self
                    .info(&number, Slot::Live)
                    .ok()
                    .map(|info| info.open_count);
                refusal.holders = holders::holders(info.device);
                Error::Refused(refusal)
            }
            other => other,
        };
        let udev = self.waits_for_udev();
        if udev {
            // This tries for most of a second, for udev itself opens what was just closed.
            let options = DmOptions::default().set_flags(flags);
            self.udev(action, info, Mark::now(), |dm, id| {
                dm.device_remove(id, options)
            })
            .map_err(open_count)?;
        } else {
            let request = Request {
                number: Some(info.device),
                flags,
                event_nr: unsynchronised(),
                ..Request::default()
            };
            self.change(action, info, Command::Remove, &request)
                .map_err(open_count)?;
        }
        // A removal that was put off leaves the device there, and its node with it.
        let stays = flags.contains(DmFlags::DM_DEFERRED_REMOVE)
            && self
                .info(&number, Slot::Live)
                .is_ok_and(|now| now.name == info.name);
        if stays {
            return Ok(());
        }
        node::remove(&info.name, info.device, !udev)
    }

    /// Puts a table in place that fails all I/O. Only a help for a removal, whose own result is
    /// what counts.
    fn fail_all_io(&self, info: &Info) {
        let number = DeviceId::Number(info.device);
        let Ok((_, table)) = self.table(&number, Slot::Live) else {
            return;
        };
        let error = Table {
            targets: vec![Target {
                start: 0,
                length: table.size(),
                name: "error".to_owned(),
                args: Zeroizing::new(String::new()),
            }],
        };
        let access = match info.read_only {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        // I/O that hangs below must not hold this up.
        let options = SuspendOptions {
            no_flush: true,
            no_lock_fs: true,
        };
        if table.size() > 0
            && self.load_known(info, &error, access).is_ok()
            && self.resume_known(info, options).is_err()
        {
            let _ = self.clear_known(info);
        }
    }
}
