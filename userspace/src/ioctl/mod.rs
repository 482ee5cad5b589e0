// SPDX-License-Identifier: GPL-2.0

//! The requests of `/dev/mapper/control` as bytes, and back.
//!
//! The `devicemapper` crate sends requests as well, but the release that Debian's compiler can
//! build sends none at all where no udev runs, and none tells how many targets a table has, or
//! wipes a key. So it is used for the requests that must wait for udev (see
//! [`crate::Dm`]), and everything else is here, on that project's own bindings.

mod reply;

use std::{fs::File, mem::offset_of, mem::size_of, os::fd::AsRawFd};

use devicemapper::{Device, DmFlags, DmName, DmUuid};
use devicemapper_sys::{
    dm_ioctl, dm_target_msg, dm_target_spec, DM_DEV_CREATE_CMD, DM_DEV_REMOVE_CMD,
    DM_DEV_RENAME_CMD, DM_DEV_STATUS_CMD, DM_DEV_SUSPEND_CMD, DM_DEV_WAIT_CMD,
    DM_GET_TARGET_VERSION_CMD, DM_IOCTL, DM_LIST_DEVICES_CMD, DM_LIST_VERSIONS_CMD,
    DM_TABLE_CLEAR_CMD, DM_TABLE_DEPS_CMD, DM_TABLE_LOAD_CMD, DM_TABLE_STATUS_CMD,
    DM_TARGET_MSG_CMD, DM_VERSION_CMD,
};
use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::table::{Table, Target};

pub(crate) use reply::Reply;

/// The first buffer: large enough for most replies, as in libdevmapper.
const FIRST_CAPACITY: usize = 16 * 1024;
/// The kernel refuses larger ones (`DM_MAX_TARGETS * DM_MAX_TARGET_PARAMS`).
const LAST_CAPACITY: usize = 1 << 30;
/// The oldest interface that has all of these requests; every kernel since 2.6.24 accepts it.
const INTERFACE: [u32; 3] = [4, 2, 0];

const HEADER: usize = size_of::<dm_ioctl>();

/// The requests that this crate makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Version,
    ListDevices,
    Create,
    Remove,
    Rename,
    Suspend,
    DeviceStatus,
    Wait,
    Load,
    Clear,
    Dependencies,
    TableStatus,
    ListVersions,
    TargetVersion,
    Message,
}

impl Command {
    fn number(self) -> u32 {
        match self {
            Command::Version => DM_VERSION_CMD,
            Command::ListDevices => DM_LIST_DEVICES_CMD,
            Command::Create => DM_DEV_CREATE_CMD,
            Command::Remove => DM_DEV_REMOVE_CMD,
            Command::Rename => DM_DEV_RENAME_CMD,
            Command::Suspend => DM_DEV_SUSPEND_CMD,
            Command::DeviceStatus => DM_DEV_STATUS_CMD,
            Command::Wait => DM_DEV_WAIT_CMD,
            Command::Load => DM_TABLE_LOAD_CMD,
            Command::Clear => DM_TABLE_CLEAR_CMD,
            Command::Dependencies => DM_TABLE_DEPS_CMD,
            Command::TableStatus => DM_TABLE_STATUS_CMD,
            Command::ListVersions => DM_LIST_VERSIONS_CMD,
            Command::TargetVersion => DM_GET_TARGET_VERSION_CMD,
            Command::Message => DM_TARGET_MSG_CMD,
        }
    }
}

/// What a request says. The kernel wants one of name, UUID and number, or for a new device the
/// name and if need be the others.
#[derive(Default)]
pub(crate) struct Request<'a> {
    pub(crate) name: Option<&'a DmName>,
    pub(crate) uuid: Option<&'a DmUuid>,
    pub(crate) number: Option<Device>,
    pub(crate) flags: DmFlags,
    pub(crate) event_nr: u32,
    pub(crate) target_count: u32,
    pub(crate) data: Option<Zeroizing<Vec<u8>>>,
}

/// A request that got no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The kernel refused.
    Errno(Errno),
    /// The answer is not what the kernel's header says it would be.
    Malformed,
}

impl Request<'_> {
    fn encode(&self, capacity: usize) -> Zeroizing<Vec<u8>> {
        let data = self.data.as_ref().map_or(&[][..], |data| data);
        let size = capacity.max(HEADER + data.len());
        let mut buffer = Zeroizing::new(vec![0; size]);
        let mut put = |at: usize, bytes: &[u8]| buffer[at..at + bytes.len()].copy_from_slice(bytes);
        for (index, number) in INTERFACE.into_iter().enumerate() {
            put(
                offset_of!(dm_ioctl, version) + index * 4,
                &number.to_ne_bytes(),
            );
        }
        let size = u32::try_from(size).expect("buffers end at LAST_CAPACITY");
        put(offset_of!(dm_ioctl, data_size), &size.to_ne_bytes());
        put(
            offset_of!(dm_ioctl, data_start),
            &(HEADER as u32).to_ne_bytes(),
        );
        put(
            offset_of!(dm_ioctl, target_count),
            &self.target_count.to_ne_bytes(),
        );
        put(
            offset_of!(dm_ioctl, flags),
            &self.flags.bits().to_ne_bytes(),
        );
        put(offset_of!(dm_ioctl, event_nr), &self.event_nr.to_ne_bytes());
        if let Some(number) = self.number.and_then(Device::to_kdev_t) {
            put(offset_of!(dm_ioctl, dev), &u64::from(number).to_ne_bytes());
        }
        // Both types hold a NUL's room less than the fields have.
        if let Some(name) = self.name {
            put(offset_of!(dm_ioctl, name), name.as_bytes());
        }
        if let Some(uuid) = self.uuid {
            put(offset_of!(dm_ioctl, uuid), uuid.as_bytes());
        }
        put(HEADER, data);
        buffer
    }
}

/// Sends a request, again with a larger buffer for as long as the kernel asks for one.
pub(crate) fn call(
    control: &File,
    command: Command,
    request: &Request<'_>,
) -> Result<Reply, Failure> {
    let mut capacity = FIRST_CAPACITY;
    loop {
        let mut buffer = request.encode(capacity);
        submit(control, command, &mut buffer).map_err(Failure::Errno)?;
        let reply = Reply::new(buffer);
        if !reply.flags()?.contains(DmFlags::DM_BUFFER_FULL) {
            return Ok(reply);
        }
        capacity = reply.capacity() * 2;
        if capacity > LAST_CAPACITY {
            return Err(Failure::Malformed);
        }
    }
}

#[allow(unsafe_code)]
fn submit(control: &File, command: Command, buffer: &mut [u8]) -> Result<(), Errno> {
    let request = nix::request_code_readwrite!(DM_IOCTL, command.number(), HEADER);
    debug_assert_eq!(
        reply::number(buffer, offset_of!(dm_ioctl, data_size)).map(u32::from_ne_bytes),
        u32::try_from(buffer.len()).ok()
    );
    // SAFETY: `buffer` lives through the call, and the kernel reads and writes no more of it
    // than the `data_size` in its header, which `Request::encode` sets to its length.
    let result = unsafe { nix::libc::ioctl(control.as_raw_fd(), request, buffer.as_mut_ptr()) };
    Errno::result(result).map(drop)
}

/// A table as the data of a request that loads it.
pub(crate) fn table_data(table: &Table) -> Zeroizing<Vec<u8>> {
    // The size is known beforehand, so that growing leaves no copy of a key behind.
    let size = |target: &Target| {
        (size_of::<dm_target_spec>() + target.args.len() + 1).next_multiple_of(size_of::<u64>())
    };
    let total = table.targets.iter().map(size).sum();
    let mut data = Zeroizing::new(Vec::with_capacity(total));
    for target in &table.targets {
        let begin = data.len();
        let name = begin + offset_of!(dm_target_spec, target_type);
        data.resize(begin + size_of::<dm_target_spec>(), 0);
        let mut put = |at: usize, bytes: &[u8]| data[at..at + bytes.len()].copy_from_slice(bytes);
        put(
            begin + offset_of!(dm_target_spec, sector_start),
            &target.start.to_ne_bytes(),
        );
        put(
            begin + offset_of!(dm_target_spec, length),
            &target.length.to_ne_bytes(),
        );
        put(
            begin + offset_of!(dm_target_spec, next),
            &(size(target) as u32).to_ne_bytes(),
        );
        put(name, target.name.as_bytes());
        data.extend_from_slice(target.args.as_bytes());
        data.resize(begin + size(target), 0);
    }
    data
}

/// A string as the data of a request: a device's new name or UUID.
pub(crate) fn string_data(text: &str) -> Zeroizing<Vec<u8>> {
    let mut data = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    data.extend_from_slice(text.as_bytes());
    data.push(0);
    data
}

/// A message as the data of a request that sends it.
pub(crate) fn message_data(sector: u64, message: &str) -> Zeroizing<Vec<u8>> {
    let mut data = Zeroizing::new(Vec::with_capacity(
        size_of::<dm_target_msg>() + message.len() + 1,
    ));
    data.extend_from_slice(&sector.to_ne_bytes());
    data.extend_from_slice(message.as_bytes());
    data.push(0);
    data
}

#[cfg(test)]
mod tests;
