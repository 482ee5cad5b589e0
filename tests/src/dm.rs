// SPDX-License-Identifier: GPL-2.0

//! Mapped devices that remove themselves.

use crate::cleanup;
use crate::sys::{self, DmReply, DmRequest};
use anyhow::{Context, Result};
use devicemapper_sys::*;
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// First sector of the mapped device.
    pub start: u64,
    /// Length in sectors.
    pub len: u64,
    /// Name of the target.
    pub target: String,
    /// Its arguments.
    pub params: String,
}

/// A line of a table.
pub fn line(start: u64, len: u64, target: &str, params: impl Into<String>) -> Line {
    Line {
        start,
        len,
        target: target.to_owned(),
        params: params.into(),
    }
}

impl fmt::Display for Line {
    /// As `dmsetup table` prints it, and takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {}",
            self.start, self.len, self.target, self.params
        )
    }
}

/// The text of a table, one line each.
pub fn table_text(table: &[Line]) -> String {
    let lines = table.iter().map(|l| format!("{l}\n"));
    lines.collect::<Vec<_>>().concat()
}

/// The symbolic name of an I/O error, such as `EINVAL`; its text if it has none.
pub fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", nix::errno::Errno::from_raw(code)),
        None => error.to_string(),
    }
}

/// What came of a call, for comparison: `ok: …` or the name of the error.
pub fn outcome<T: fmt::Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("ok: {value:?}"),
        Err(error) => errno_name(&error),
    }
}

/// Opens the control device.
pub fn control() -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/mapper/control");
    file.context("cannot open /dev/mapper/control: is dm-mod loaded?")
}

/// Issues a request whose answer is of any length.
fn ask(control: &File, command: u32, request: &DmRequest) -> io::Result<DmReply> {
    let mut request = *request;
    request.room = 16 * 1024;
    loop {
        let reply = sys::device_mapper(control, command, &request)?;
        if !reply.has(DM_BUFFER_FULL_FLAG) {
            return Ok(reply);
        }
        request.room *= 4;
    }
}

/// A C string at the start of `bytes`.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..][..4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..][..8].try_into().expect("eight bytes"))
}

/// The targets that are registered, with their versions.
pub fn targets() -> Result<Vec<(String, [u32; 3])>> {
    let reply = ask(&control()?, DM_LIST_VERSIONS_CMD, &DmRequest::default())?;
    let mut rest = &reply.data[..];
    let mut targets = Vec::new();
    loop {
        let version = [4, 8, 12].map(|at| word(rest, at));
        targets.push((text(&rest[16..]), version));
        match word(rest, 0) {
            0 => return Ok(targets),
            next => rest = &rest[next as usize..],
        }
    }
}

/// The lines of a table as a request has them (`struct dm_target_spec`).
pub fn encode(table: &[Line]) -> Vec<u8> {
    let mut data = Vec::new();
    for line in table {
        let len = (40 + line.params.len() + 1).next_multiple_of(8);
        let mut spec = vec![0; len];
        spec[..8].copy_from_slice(&line.start.to_ne_bytes());
        spec[8..16].copy_from_slice(&line.len.to_ne_bytes());
        spec[20..24].copy_from_slice(&(len as u32).to_ne_bytes());
        spec[24..][..line.target.len()].copy_from_slice(line.target.as_bytes());
        spec[40..][..line.params.len()].copy_from_slice(line.params.as_bytes());
        data.extend(spec);
    }
    data
}

/// The lines that an answer holds; their `next` counts from the start of all.
fn decode(reply: &DmReply) -> Vec<Line> {
    let mut at = 0;
    let mut table = Vec::new();
    for _ in 0..reply.targets {
        let spec = &reply.data[at..];
        table.push(line(
            long(spec, 0),
            long(spec, 8),
            &text(&spec[24..40]),
            text(&spec[40..]),
        ));
        at = word(spec, 20) as usize;
    }
    table
}

/// How to suspend a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspend {
    /// Waits for I/O that was begun.
    Flush,
    /// Does not wait: I/O is queued (`dmsetup suspend --noflush`).
    NoFlush,
    /// Does not freeze a mounted file system (`dmsetup suspend --nolockfs`).
    NoLockFs,
}

/// A mapped device with a name of its own, removed when it is dropped.
pub struct MappedDevice {
    control: File,
    name: String,
    devno: (u32, u32),
}

static SERIAL: AtomicU32 = AtomicU32::new(0);

impl MappedDevice {
    /// Creates a device without a table.
    pub fn empty() -> Result<MappedDevice> {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("dmr-test-{serial}"), "")
    }

    /// Creates a device without a table, of a given name (of at most 127 bytes)
    /// and UUID (128, none if empty).
    pub fn named(name: &str, uuid: &str) -> Result<MappedDevice> {
        let control = control()?;
        let request = DmRequest {
            name,
            uuid,
            ..DmRequest::default()
        };
        let reply = ask(&control, DM_DEV_CREATE_CMD, &request)
            .with_context(|| format!("cannot create device {name}"))?;
        Ok(MappedDevice {
            control,
            name: name.to_owned(),
            devno: reply.devno,
        })
    }

    /// Creates a device, loads its table and makes it live.
    pub fn create(table: &[Line]) -> Result<MappedDevice> {
        let device = Self::empty()?;
        device
            .load(table)
            .with_context(|| format!("the kernel refuses the table {}", table_text(table)))?;
        device.resume()?;
        Ok(device)
    }

    fn call(&self, command: u32, flags: u32) -> io::Result<DmReply> {
        let request = DmRequest {
            name: &self.name,
            flags,
            ..DmRequest::default()
        };
        ask(&self.control, command, &request)
    }

    /// Loads a table into the inactive slot.
    pub fn load(&self, table: &[Line]) -> io::Result<()> {
        self.load_with(table, 0)
    }

    /// Loads a table that is read-only.
    pub fn load_read_only(&self, table: &[Line]) -> io::Result<()> {
        self.load_with(table, DM_READONLY_FLAG)
    }

    fn load_with(&self, table: &[Line], flags: u32) -> io::Result<()> {
        let request = DmRequest {
            name: &self.name,
            flags,
            targets: table.len() as u32,
            data: &encode(table),
            ..DmRequest::default()
        };
        ask(&self.control, DM_TABLE_LOAD_CMD, &request).map(drop)
    }

    /// Empties the inactive slot.
    pub fn clear(&self) -> io::Result<()> {
        self.call(DM_TABLE_CLEAR_CMD, 0).map(drop)
    }

    /// Suspends I/O.
    pub fn suspend(&self, how: Suspend) -> io::Result<()> {
        let flag = match how {
            Suspend::Flush => 0,
            Suspend::NoFlush => DM_NOFLUSH_FLAG,
            Suspend::NoLockFs => DM_SKIP_LOCKFS_FLAG,
        };
        self.call(DM_DEV_SUSPEND_CMD, DM_SUSPEND_FLAG | flag)
            .map(drop)
    }

    /// Makes the inactive table, if there is one, the active one and lets I/O through.
    pub fn resume(&self) -> io::Result<()> {
        self.call(DM_DEV_SUSPEND_CMD, 0).map(drop)
    }

    /// Puts another table in the place of the active one.
    pub fn swap(&self, table: &[Line], how: Suspend) -> io::Result<()> {
        self.load(table)?;
        self.suspend(how)?;
        self.resume()
    }

    /// Gives it another name, of at most 127 bytes.
    pub fn rename(&mut self, name: &str) -> io::Result<()> {
        let data = format!("{name}\0");
        let request = DmRequest {
            name: &self.name,
            data: data.as_bytes(),
            ..DmRequest::default()
        };
        ask(&self.control, DM_DEV_RENAME_CMD, &request)?;
        self.name = name.to_owned();
        Ok(())
    }

    /// The active table (`dmsetup table`).
    pub fn table(&self) -> io::Result<Vec<Line>> {
        self.call(DM_TABLE_STATUS_CMD, DM_STATUS_TABLE_FLAG)
            .map(|r| decode(&r))
    }

    /// The inactive table (`dmsetup table --inactive`).
    pub fn inactive_table(&self) -> io::Result<Vec<Line>> {
        let flags = DM_STATUS_TABLE_FLAG | DM_QUERY_INACTIVE_TABLE_FLAG;
        self.call(DM_TABLE_STATUS_CMD, flags).map(|r| decode(&r))
    }

    /// `dmsetup status`.
    pub fn status(&self) -> io::Result<Vec<Line>> {
        self.call(DM_TABLE_STATUS_CMD, 0).map(|r| decode(&r))
    }

    /// `DM_TABLE_STATUS` with room for just that many bytes of answer.
    pub fn status_into(&self, table: bool, room: usize) -> io::Result<DmReply> {
        let request = DmRequest {
            name: &self.name,
            flags: if table { DM_STATUS_TABLE_FLAG } else { 0 },
            room,
            ..DmRequest::default()
        };
        sys::device_mapper(&self.control, DM_TABLE_STATUS_CMD, &request)
    }

    /// `dmsetup info`.
    pub fn info(&self) -> io::Result<DmReply> {
        self.call(DM_DEV_STATUS_CMD, 0)
    }

    /// Whether it has an active table.
    pub fn is_active(&self) -> io::Result<bool> {
        Ok(self.info()?.has(DM_ACTIVE_PRESENT_FLAG))
    }

    /// Whether I/O to it waits.
    pub fn is_suspended(&self) -> io::Result<bool> {
        Ok(self.info()?.has(DM_SUSPEND_FLAG))
    }

    /// `dmsetup deps`, as `major:minor`.
    pub fn deps(&self) -> io::Result<Vec<String>> {
        let data = self.call(DM_TABLE_DEPS_CMD, 0)?.data;
        let deps = data[8..]
            .chunks_exact(8)
            .take(word(&data, 0) as usize)
            .map(|d| long(d, 0));
        Ok(deps
            .map(|d| format!("{}:{}", rustix::fs::major(d), rustix::fs::minor(d)))
            .collect())
    }

    /// Sends a message to the target at `sector`.
    pub fn message(&self, sector: u64, message: &str) -> io::Result<()> {
        self.ask(sector, message).map(drop)
    }

    /// As [`MappedDevice::message`], for one that may be answered.
    pub fn ask(&self, sector: u64, message: &str) -> io::Result<Option<String>> {
        let mut data = sector.to_ne_bytes().to_vec();
        data.extend_from_slice(message.as_bytes());
        data.push(0);
        let request = DmRequest {
            name: &self.name,
            data: &data,
            ..DmRequest::default()
        };
        let reply = ask(&self.control, DM_TARGET_MSG_CMD, &request)?;
        Ok(reply.has(DM_DATA_OUT_FLAG).then(|| text(&reply.data)))
    }

    /// Sends a request about the device, as it is: with `data` that are masked and the room that is said,
    /// see [`DmRequest`].
    pub fn send(&self, command: u32, request: &DmRequest) -> io::Result<DmReply> {
        let name = &self.name;
        sys::device_mapper(&self.control, command, &DmRequest { name, ..*request })
    }

    /// Removes it, without trying again.
    pub fn remove(&self) -> io::Result<()> {
        self.call(DM_DEV_REMOVE_CMD, 0).map(drop)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `major:minor`, as the kernel log and tables have it.
    pub fn devno(&self) -> String {
        format!("{}:{}", self.devno.0, self.devno.1)
    }

    /// The kernel's name, such as `dm-0`.
    pub fn kernel_name(&self) -> String {
        format!("dm-{}", self.devno.1)
    }

    /// The device node.
    pub fn path(&self) -> PathBuf {
        format!("/dev/{}", self.kernel_name()).into()
    }

    /// The device node, opened for reading.
    pub fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }
}

impl Drop for MappedDevice {
    fn drop(&mut self) {
        let mut tries = 500;
        loop {
            match self.remove().map_err(|e| Errno::from_io_error(&e)) {
                Ok(()) | Err(Some(Errno::NXIO)) => return,
                Err(Some(Errno::BUSY)) if tries > 0 => tries -= 1,
                Err(e) => {
                    let why = e.map_or("no errno".into(), |e| e.to_string());
                    return cleanup::left_behind(format!("mapped device {}", self.name), why);
                }
            }
            // A failed test may leave it suspended, with I/O that waits.
            let _ = self.resume();
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_encoded_with_each_line_aligned() {
        let table = [line(0, 8, "linear", "/dev/a 1"), line(8, 16, "error", "")];
        let data = encode(&table);
        assert_eq!(word(&data, 20), 56);
        assert_eq!(long(&data, 8), 8);
        assert_eq!(text(&data[24..40]), "linear");
        assert_eq!(text(&data[40..]), "/dev/a 1");
        assert_eq!(long(&data, 56 + 8), 16);
        assert_eq!(data.len(), 56 + 48);
        assert_eq!(table_text(&table), "0 8 linear /dev/a 1\n8 16 error \n");
    }

    #[test]
    fn an_answer_is_decoded() {
        let table = [line(0, 8, "linear", "1:0 1"), line(8, 16, "error", "")];
        let mut data = encode(&table);
        // In answers `next` counts from the start of all of them.
        let second = word(&data, 20) as usize;
        let end = data.len() as u32;
        data[second + 20..][..4].copy_from_slice(&end.to_ne_bytes());
        let reply = DmReply {
            flags: 0,
            targets: 2,
            open_count: 0,
            event_nr: 0,
            devno: (0, 0),
            data,
        };
        assert_eq!(decode(&reply), table);
    }
}
