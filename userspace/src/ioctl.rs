// SPDX-License-Identifier: GPL-2.0

//! The requests of `/dev/mapper/control` as bytes, and back.
//!
//! The `devicemapper` crate sends requests as well, but the release that Debian's compiler can
//! build sends none at all where no udev runs, and none tells how many targets a table has, or
//! wipes a key. So it is used for the requests that must wait for udev (see
//! [`crate::Dm`]), and everything else is here, on that project's own bindings.

use std::{fs::File, mem::offset_of, mem::size_of, os::fd::AsRawFd};

use devicemapper::{Device, DmFlags, DmName, DmUuid};
use devicemapper_sys::{
    dm_ioctl, dm_name_list, dm_target_msg, dm_target_spec, dm_target_versions, DM_DEV_CREATE_CMD,
    DM_DEV_REMOVE_CMD, DM_DEV_STATUS_CMD, DM_DEV_SUSPEND_CMD, DM_IOCTL, DM_LIST_DEVICES_CMD,
    DM_LIST_VERSIONS_CMD, DM_TABLE_CLEAR_CMD, DM_TABLE_LOAD_CMD, DM_TABLE_STATUS_CMD,
    DM_TARGET_MSG_CMD, DM_VERSION_CMD,
};
use nix::errno::Errno;
use zeroize::Zeroizing;

use crate::{table::Target, Table};

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
    Suspend,
    DeviceStatus,
    Load,
    Clear,
    TableStatus,
    ListVersions,
    Message,
}

impl Command {
    fn number(self) -> u32 {
        match self {
            Command::Version => DM_VERSION_CMD,
            Command::ListDevices => DM_LIST_DEVICES_CMD,
            Command::Create => DM_DEV_CREATE_CMD,
            Command::Remove => DM_DEV_REMOVE_CMD,
            Command::Suspend => DM_DEV_SUSPEND_CMD,
            Command::DeviceStatus => DM_DEV_STATUS_CMD,
            Command::Load => DM_TABLE_LOAD_CMD,
            Command::Clear => DM_TABLE_CLEAR_CMD,
            Command::TableStatus => DM_TABLE_STATUS_CMD,
            Command::ListVersions => DM_LIST_VERSIONS_CMD,
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

/// What the kernel answered.
pub(crate) struct Reply {
    buffer: Zeroizing<Vec<u8>>,
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
        let reply = Reply { buffer };
        if !reply.flags()?.contains(DmFlags::DM_BUFFER_FULL) {
            return Ok(reply);
        }
        capacity = reply.buffer.len() * 2;
        if capacity > LAST_CAPACITY {
            return Err(Failure::Malformed);
        }
    }
}

#[allow(unsafe_code)]
fn submit(control: &File, command: Command, buffer: &mut [u8]) -> Result<(), Errno> {
    let request = nix::request_code_readwrite!(DM_IOCTL, command.number(), HEADER);
    debug_assert_eq!(
        number(buffer, offset_of!(dm_ioctl, data_size)).map(u32::from_ne_bytes),
        u32::try_from(buffer.len()).ok()
    );
    // SAFETY: `buffer` lives through the call, and the kernel reads and writes no more of it
    // than the `data_size` in its header, which `Request::encode` sets to its length.
    let result = unsafe { nix::libc::ioctl(control.as_raw_fd(), request, buffer.as_mut_ptr()) };
    Errno::result(result).map(drop)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The bytes from `at` to the next NUL.
fn bytes_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(&bytes[..end])
}

/// The text from `at` to the next NUL. Bytes that are no UTF-8 become U+FFFD.
fn text(bytes: &[u8], at: usize) -> Option<String> {
    Some(String::from_utf8_lossy(bytes_at(bytes, at)?).into_owned())
}

/// The name or UUID from `at` to the next NUL. The kernel takes any bytes; those that are no
/// ASCII are escaped here as whoever put them there should have done.
fn ascii(bytes: &[u8], at: usize) -> Option<String> {
    let mut out = String::new();
    for &byte in bytes_at(bytes, at)? {
        match byte.is_ascii() {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    Some(out)
}

impl Reply {
    fn u32_at(&self, at: usize) -> Result<u32, Failure> {
        number(&self.buffer, at)
            .map(u32::from_ne_bytes)
            .ok_or(Failure::Malformed)
    }

    pub(crate) fn flags(&self) -> Result<DmFlags, Failure> {
        Ok(DmFlags::from_bits_truncate(
            self.u32_at(offset_of!(dm_ioctl, flags))?,
        ))
    }

    pub(crate) fn version(&self) -> Result<[u32; 3], Failure> {
        let at = offset_of!(dm_ioctl, version);
        Ok([self.u32_at(at)?, self.u32_at(at + 4)?, self.u32_at(at + 8)?])
    }

    pub(crate) fn target_count(&self) -> Result<u32, Failure> {
        self.u32_at(offset_of!(dm_ioctl, target_count))
    }

    pub(crate) fn event_nr(&self) -> Result<u32, Failure> {
        self.u32_at(offset_of!(dm_ioctl, event_nr))
    }

    pub(crate) fn open_count(&self) -> Result<u32, Failure> {
        self.u32_at(offset_of!(dm_ioctl, open_count))
    }

    pub(crate) fn device(&self) -> Result<Device, Failure> {
        // The field has 64 bits, the kernel's numbers have 32.
        let number = number(&self.buffer, offset_of!(dm_ioctl, dev)).map(u64::from_ne_bytes);
        Ok(Device::from_kdev_t(number.ok_or(Failure::Malformed)? as u32))
    }

    pub(crate) fn name(&self) -> Result<String, Failure> {
        ascii(&self.buffer, offset_of!(dm_ioctl, name)).ok_or(Failure::Malformed)
    }

    pub(crate) fn uuid(&self) -> Result<String, Failure> {
        ascii(&self.buffer, offset_of!(dm_ioctl, uuid)).ok_or(Failure::Malformed)
    }

    fn data(&self) -> Result<&[u8], Failure> {
        let start = self.u32_at(offset_of!(dm_ioctl, data_start))? as usize;
        let size = self.u32_at(offset_of!(dm_ioctl, data_size))? as usize;
        // Without data the kernel may leave `data_size` short of the header.
        self.buffer
            .get(start..size.max(start))
            .ok_or(Failure::Malformed)
    }

    /// The targets of a table request.
    pub(crate) fn table(&self) -> Result<Table, Failure> {
        let data = self.data()?;
        let mut targets = Vec::new();
        let mut at = 0;
        if data.is_empty() {
            return Ok(Table::default());
        }
        for _ in 0..self.target_count()? {
            targets.push(target_at(data, at).ok_or(Failure::Malformed)?);
            // Replies count from the start of the data, requests from the target before.
            at = number(data, at + offset_of!(dm_target_spec, next))
                .map(u32::from_ne_bytes)
                .ok_or(Failure::Malformed)? as usize;
        }
        Ok(Table { targets })
    }

    /// The names and numbers of a list of devices.
    pub(crate) fn devices(&self) -> Result<Vec<(String, Device)>, Failure> {
        let entries = linked(self.data()?, offset_of!(dm_name_list, next), |data, at| {
            let device =
                number(data, at + offset_of!(dm_name_list, dev)).map(u64::from_ne_bytes)?;
            let name = ascii(data, at + offset_of!(dm_name_list, name))?;
            Some((name, Device::from_kdev_t(device as u32)))
        })?;
        Ok(entries)
    }

    /// The names and versions of a list of targets.
    pub(crate) fn versions(&self) -> Result<Vec<(String, [u32; 3])>, Failure> {
        linked(
            self.data()?,
            offset_of!(dm_target_versions, next),
            |data, at| {
                let part = |index: usize| {
                    let at = at + offset_of!(dm_target_versions, version) + index * 4;
                    number(data, at).map(u32::from_ne_bytes)
                };
                let name = text(data, at + offset_of!(dm_target_versions, name))?;
                Some((name, [part(0)?, part(1)?, part(2)?]))
            },
        )
    }

    /// What a target answered to a message, if it answered.
    pub(crate) fn message(&self) -> Result<Option<String>, Failure> {
        if !self.flags()?.contains(DmFlags::DM_DATA_OUT) {
            return Ok(None);
        }
        text(self.data()?, 0).map(Some).ok_or(Failure::Malformed)
    }
}

/// Reads entries, each of which says how far away the next one is, and the last 0.
fn linked<T>(
    data: &[u8],
    next: usize,
    entry: impl Fn(&[u8], usize) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let mut entries = Vec::new();
    let mut at = 0;
    if data.is_empty() {
        return Ok(entries);
    }
    loop {
        entries.push(entry(data, at).ok_or(Failure::Malformed)?);
        match number(data, at + next).map(u32::from_ne_bytes) {
            Some(0) => return Ok(entries),
            Some(distance) => at += distance as usize,
            None => return Err(Failure::Malformed),
        }
    }
}

fn target_at(data: &[u8], at: usize) -> Option<Target> {
    let u64_at = |field: usize| number(data, at.checked_add(field)?).map(u64::from_ne_bytes);
    let start = u64_at(offset_of!(dm_target_spec, sector_start))?;
    let length = u64_at(offset_of!(dm_target_spec, length))?;
    let name = data.get(at + offset_of!(dm_target_spec, target_type)..)?;
    let name = name.get(..size_of::<dm_target_spec>() - offset_of!(dm_target_spec, target_type))?;
    Some(Target {
        start,
        length,
        name: text(name, 0)?,
        args: Zeroizing::new(text(data, at + size_of::<dm_target_spec>())?),
    })
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(flags: u32, target_count: u32, data: &[u8]) -> Reply {
        let mut buffer = Zeroizing::new(vec![0; HEADER]);
        let mut put = |at: usize, number: u32| {
            buffer[at..at + 4].copy_from_slice(&number.to_ne_bytes());
        };
        put(offset_of!(dm_ioctl, data_start), HEADER as u32);
        put(
            offset_of!(dm_ioctl, data_size),
            (HEADER + data.len()) as u32,
        );
        put(offset_of!(dm_ioctl, target_count), target_count);
        put(offset_of!(dm_ioctl, flags), flags);
        buffer.extend_from_slice(data);
        Reply { buffer }
    }

    /// A table as the kernel's `retrieve_status` writes it.
    fn as_kernel(table: &Table) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        for target in &table.targets {
            out.extend(target.start.to_ne_bytes());
            out.extend(target.length.to_ne_bytes());
            out.extend(0_i32.to_ne_bytes());
            let end = out.len() + 20 + target.args.len() + 1;
            let next = end.next_multiple_of(8);
            out.extend((next as u32).to_ne_bytes());
            let mut name = [0; 16];
            name[..target.name.len()].copy_from_slice(target.name.as_bytes());
            out.extend(name);
            out.extend(target.args.as_bytes());
            out.resize(next, 0);
        }
        out
    }

    #[test]
    fn a_load_is_laid_out_as_the_kernel_reads_it() {
        let table = Table::parse("0 8 linear 8:0 0\n8 16 zero").unwrap();
        let data = table_data(&table);
        let u32_at = |at: usize| u32::from_ne_bytes(number(&data, at).unwrap());
        let u64_at = |at: usize| u64::from_ne_bytes(number(&data, at).unwrap());
        assert_eq!((u64_at(0), u64_at(8)), (0, 8));
        assert_eq!(u32_at(20), 48, "the second target begins 48 bytes on");
        assert_eq!(text(&data, 24).as_deref(), Some("linear"));
        assert_eq!(text(&data, 40).as_deref(), Some("8:0 0"));
        assert_eq!((u64_at(48), u64_at(56)), (8, 16));
        assert_eq!(u32_at(68), 48);
        assert_eq!(text(&data, 72).as_deref(), Some("zero"));
        assert_eq!(text(&data, 88).as_deref(), Some(""));
        assert_eq!(data.len(), 96);
    }

    #[test]
    fn a_header_is_laid_out_as_the_kernel_reads_it() {
        let name = DmName::new("disk").unwrap();
        let buffer = Request {
            name: Some(name),
            number: Some(Device {
                major: 253,
                minor: 300,
            }),
            flags: DmFlags::DM_READONLY,
            event_nr: 7,
            target_count: 2,
            data: Some(Zeroizing::new(vec![1, 2, 3])),
            ..Request::default()
        }
        .encode(400);
        let u32_at = |at: usize| u32::from_ne_bytes(number(&buffer, at).unwrap());
        assert_eq!([u32_at(0), u32_at(4), u32_at(8)], INTERFACE);
        assert_eq!((u32_at(12), u32_at(16)), (400, 312));
        assert_eq!((u32_at(20), u32_at(28), u32_at(32)), (2, 1, 7));
        assert_eq!(
            u64::from_ne_bytes(number(&buffer, 40).unwrap()),
            0x10_fd2c,
            "mmmM MMmm"
        );
        assert_eq!(text(&buffer, 48).as_deref(), Some("disk"));
        assert_eq!(buffer[312..316], [1, 2, 3, 0]);
        assert_eq!(buffer.len(), 400);
    }

    #[test]
    fn lists_are_read() {
        let mut data = Vec::new();
        for (device, next, name) in [(0xfd00_u64, 16_u32, "one"), (0xfd01, 0, "two\\x20b")] {
            data.extend(device.to_ne_bytes());
            data.extend(next.to_ne_bytes());
            data.extend(name.as_bytes());
            data.push(0);
            data.resize(data.len().next_multiple_of(8), 0);
        }
        let devices = reply(0, 0, &data).devices().unwrap();
        let minor = |minor| Device { major: 253, minor };
        assert_eq!(
            devices,
            [
                ("one".to_owned(), minor(0)),
                ("two\\x20b".to_owned(), minor(1))
            ]
        );
        assert_eq!(reply(0, 0, &[]).devices(), Ok(Vec::new()));
    }

    #[test]
    fn only_a_target_that_answers_has_an_answer() {
        assert_eq!(reply(0, 0, b"old\0").message(), Ok(None));
        assert_eq!(
            reply(DmFlags::DM_DATA_OUT.bits(), 0, b"new\0").message(),
            Ok(Some("new".to_owned()))
        );
        assert_eq!(
            reply(DmFlags::DM_DATA_OUT.bits(), 0, b"no end").message(),
            Err(Failure::Malformed)
        );
    }

    prop_compose! {
        fn any_table()(
            lines in proptest::collection::vec(
                (any::<u64>(), any::<u64>(), "[a-z-]{1,15}", "[!-~ ]{0,40}"),
                0..6,
            ),
        ) -> Table {
            let targets = lines.into_iter().map(|(start, length, name, args)| Target {
                start,
                length,
                name,
                args: Zeroizing::new(args),
            });
            Table { targets: targets.collect() }
        }
    }

    proptest! {
        #[test]
        fn tables_come_back(table in any_table()) {
            let data = as_kernel(&table);
            let count = table.targets.len() as u32;
            prop_assert_eq!(reply(0, count, &data).table().unwrap(), table);
        }

        #[test]
        fn no_reply_makes_it_panic(
            flags: u32,
            count in 0..5_u32,
            data in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let reply = reply(flags, count, &data);
            let _ = (reply.table().is_ok(), reply.versions(), reply.devices(), reply.message());
        }

        #[test]
        fn no_header_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let reply = Reply { buffer: Zeroizing::new(bytes) };
            let _ = (reply.data().is_ok(), reply.name(), reply.uuid(), reply.device());
        }
    }
}
