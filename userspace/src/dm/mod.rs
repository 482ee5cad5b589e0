// SPDX-License-Identifier: GPL-2.0

//! Devices: made, changed, asked and removed.

mod change;
mod find;
mod nodes;
mod query;
mod remove;
mod types;

use std::{env, fs::File, io, path::Path, path::PathBuf};

use devicemapper::{
    errors::Error as CoreError, DevId, Device, DmError, DmName, DmNameBuf, DmUdevFlags, DM,
};
use nix::errno::Errno;

pub use nodes::NodesMade;
pub use types::{
    Access, DeviceId, Info, Listed, NewDevice, RemoveOptions, Slot, SuspendOptions, TargetVersion,
    UdevSync,
};

use crate::{
    error::{Action, Error, Refusal, Result},
    ioctl::{self, Command, Failure, Reply, Request},
    kmsg::Mark,
};

const CONTROL: &str = "/dev/mapper/control";
/// The socket that udev has for as long as it runs; libdevmapper looks for it as well.
const UDEV_SOCKET: &str = "/run/udev/control";
/// Set to any value, it makes libdevmapper's tools do without udev; so it does here.
const NO_UDEV: &str = "DM_DISABLE_UDEV";

/// The way to the kernel's device-mapper.
#[derive(Debug)]
pub struct Dm {
    control: File,
    udev: UdevSync,
}

impl Dm {
    /// Opens the control device.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`] or [`Error::NoControl`].
    pub fn open(udev: UdevSync) -> Result<Dm> {
        let control = File::open(CONTROL).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => Error::NotRoot,
            _ => Error::NoControl {
                path: PathBuf::from(CONTROL),
                source,
            },
        })?;
        Ok(Dm { control, udev })
    }

    fn waits_for_udev(&self) -> bool {
        match self.udev {
            UdevSync::Never => false,
            UdevSync::IfRunning => {
                env::var_os(NO_UDEV).is_none() && Path::new(UDEV_SOCKET).exists()
            }
        }
    }

    fn call(
        &self,
        action: Action,
        device: Option<&dyn std::fmt::Display>,
        command: Command,
        request: &Request<'_>,
    ) -> Result<Reply> {
        ioctl::call(&self.control, command, request).map_err(|failure| match failure {
            Failure::Malformed => Error::Malformed(action),
            Failure::Errno(errno) => refused(action, device.map(ToString::to_string), errno),
        })
    }

    /// The version of the kernel's interface: major number, minor number, patch level.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`] or [`Error::Refused`].
    pub fn version(&self) -> Result<[u32; 3]> {
        let action = Action::Version;
        self.call(action, None, Command::Version, &Request::default())?
            .version()
            .map_err(|_| Error::Malformed(action))
    }

    /// The targets that the kernel has at present, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`] or [`Error::Refused`].
    pub fn targets(&self) -> Result<Vec<TargetVersion>> {
        let action = Action::Targets;
        let targets = self
            .call(action, None, Command::ListVersions, &Request::default())?
            .versions()
            .map_err(|_| Error::Malformed(action))?;
        Ok(targets
            .into_iter()
            .map(|(name, version)| TargetVersion { name, version })
            .collect())
    }

    /// All devices, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`Error::NotRoot`] or [`Error::Refused`].
    pub fn list(&self) -> Result<Vec<Listed>> {
        let action = Action::List;
        let devices = self
            .call(action, None, Command::ListDevices, &Request::default())?
            .devices()
            .map_err(|_| Error::Malformed(action))?;
        devices
            .into_iter()
            .map(|(name, device)| {
                let name = DmNameBuf::new(name).map_err(|_| Error::Malformed(action))?;
                Ok(Listed { name, device })
            })
            .collect()
    }

    /// A request that changes a device, of whose failure the kernel's log may tell more.
    fn change(
        &self,
        action: Action,
        info: &Info,
        command: Command,
        request: &Request<'_>,
    ) -> Result<Reply> {
        let mark = Mark::now();
        self.call(action, Some(&info.shown_name()), command, request)
            .map_err(|error| with_reasons(error, mark, Some(info.device)))
    }

    /// A request that returns once udev has done its part.
    fn udev<T>(
        &self,
        action: Action,
        info: &Info,
        mark: Mark,
        request: impl FnOnce(&DM, &DevId<'_>) -> devicemapper::DmResult<T>,
    ) -> Result<()> {
        let name: &DmName = &info.name;
        let result = DM::new().and_then(|dm| request(&dm, &DevId::Name(name)));
        let error = match result {
            Ok(_) => return Ok(()),
            Err(DmError::Core(CoreError::Ioctl(_, _, _, errno))) => {
                refused(action, Some(info.shown_name()), *errno)
            }
            Err(DmError::Core(CoreError::UdevSync(reason))) => Error::Udev(reason),
            Err(other) => Error::Udev(other.to_string()),
        };
        Err(with_reasons(error, mark, Some(info.device)))
    }
}

/// The cookie of a request that nobody waits for: it still tells udev's rules that the event is
/// not a stray one.
fn unsynchronised() -> u32 {
    DmUdevFlags::DM_UDEV_PRIMARY_SOURCE_FLAG.bits() << 16
}

fn refused(action: Action, device: Option<String>, errno: Errno) -> Error {
    use Action::{Dependencies, Info, Load, Message, Resume, Status, Table, Wait};
    match (errno, device) {
        // The control device asks for a capability before all else. Later, targets may say this
        // of the devices below them.
        (Errno::EACCES, _) if !matches!(action, Load | Resume | Message) => Error::NotRoot,
        (Errno::ENXIO, Some(device))
            if matches!(action, Info | Table | Status | Dependencies | Wait) =>
        {
            Error::NoSuchDevice(device)
        }
        (errno, device) => Error::Refused(Box::new(Refusal::new(action, device, errno))),
    }
}

fn with_reasons(error: Error, mark: Mark, device: Option<Device>) -> Error {
    match error {
        Error::Refused(mut refusal) => {
            refusal.reasons = mark.reasons(device);
            Error::Refused(refusal)
        }
        other => other,
    }
}
