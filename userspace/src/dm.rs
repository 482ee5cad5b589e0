// SPDX-License-Identifier: GPL-2.0

//! Devices: made, changed, asked and removed.

use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use devicemapper::{
    errors::Error as CoreError, DevId, Device, DmError, DmFlags, DmName, DmNameBuf, DmOptions,
    DmUdevFlags, DmUuidBuf, DM,
};
use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::{
    error::{Action, Error, Refusal, Result},
    ioctl::{self, Command, Failure, Reply, Request},
    kmsg::Mark,
    name, node,
    table::{Table, Target},
};

const CONTROL: &str = "/dev/mapper/control";
/// The socket that udev has for as long as it runs; libdevmapper looks for it as well.
const UDEV_SOCKET: &str = "/run/udev/control";
/// Set to any value, it makes libdevmapper's tools do without udev; so it does here.
const NO_UDEV: &str = "DM_DISABLE_UDEV";
/// For how long a removal is tried again, as in libdevmapper.
const REMOVE_PATIENCE: Duration = Duration::from_secs(5);
const REMOVE_DELAY: Duration = Duration::from_millis(200);

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
    fn request(&self) -> Request<'_> {
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
    fn flags(self) -> DmFlags {
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
    fn flags(self) -> DmFlags {
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
    fn read(reply: &Reply, action: Action) -> Result<Info> {
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

    /// The device that `text` means: a name, `MAJOR:MINOR`, or the path of a node such as
    /// `/dev/mapper/NAME`, `/dev/dm-0` or `mapper/NAME`. A name is not looked up here.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if it can be no device's name, [`Error::NoSuchDevice`] if nothing is at
    /// the path.
    pub fn find(&self, text: &str) -> Result<DeviceId> {
        if text.contains('/') {
            return self.find_path(text);
        }
        let name = name::device_name(text)?;
        if let Ok(number) = text.parse::<Device>() {
            // A device may well be named like a number; then it is the one that is meant.
            let named = self.list()?.iter().any(|listed| listed.name == name);
            if !named {
                return Ok(DeviceId::Number(number));
            }
        }
        Ok(DeviceId::Name(name))
    }

    fn find_path(&self, text: &str) -> Result<DeviceId> {
        let path = Path::new(text);
        let candidates = [path.to_owned(), Path::new("/dev").join(path)];
        for candidate in &candidates {
            if let Ok(Some(device)) = node::block_device(candidate) {
                // A node may be another driver's, or left from a device that is gone.
                return match self.list()?.iter().any(|listed| listed.device == device) {
                    true => Ok(DeviceId::Number(device)),
                    false => Err(Error::NoSuchDevice(text.to_owned())),
                };
            }
        }
        // The node can be missing, as that of a device without a table is.
        let name = candidates
            .iter()
            .find_map(|candidate| candidate.strip_prefix(node::DIRECTORY).ok()?.to_str());
        match name {
            Some(name) if !name.is_empty() && !name.contains('/') => {
                Ok(DeviceId::Name(name::device_name(name)?))
            }
            _ => Err(Error::NoSuchDevice(text.to_owned())),
        }
    }

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

    fn load_known(&self, info: &Info, table: &Table, access: Access) -> Result<()> {
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

    fn clear_known(&self, info: &Info) -> Result<()> {
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
    /// [`Error::NoSuchDevice`] or [`Error::Refused`]; [`Refusal::left_suspended`] then tells
    /// whether the device has been left suspended.
    pub fn resume(&self, id: &DeviceId, options: SuspendOptions) -> Result<Info> {
        let info = self.info(id, Slot::Live)?;
        self.resume_known(&info, options)
    }

    fn resume_known(&self, info: &Info, options: SuspendOptions) -> Result<Info> {
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

    fn remove_known(&self, info: &Info, flags: DmFlags) -> Result<()> {
        let action = Action::Remove;
        let number = DeviceId::Number(info.device);
        let open_count = |error| match error {
            Error::Refused(mut refusal) if refusal.errno == Errno::EBUSY => {
                refusal.open_count = self
                    .info(&number, Slot::Live)
                    .ok()
                    .map(|info| info.open_count);
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
    use Action::{Info, Load, Message, Resume, Status, Table};
    match (errno, device) {
        // The control device asks for a capability before all else. Later, targets may say this
        // of the devices below them.
        (Errno::EACCES, _) if !matches!(action, Load | Resume | Message) => Error::NotRoot,
        (Errno::ENXIO, Some(device)) if matches!(action, Info | Table | Status) => {
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
