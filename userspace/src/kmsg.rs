// SPDX-License-Identifier: GPL-2.0

//! The kernel's own reason for a refusal, which it puts into its log only.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
};

use devicemapper::Device;
use nix::libc::{EPIPE, O_NONBLOCK};

const LOG: &str = "/dev/kmsg";
const PREFIX: &str = "device-mapper: ";
/// The longest record that the kernel hands out.
const RECORD: usize = 8192;

/// A place in the kernel's log, from which on device-mapper's messages are of interest.
pub(crate) struct Mark(Option<File>);

impl Mark {
    /// Marks the present end of the log. Where there is no log to read, there are no reasons.
    pub(crate) fn now() -> Mark {
        let log = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(LOG)
            .and_then(|mut log| log.seek(SeekFrom::End(0)).map(|_| log));
        Mark(log.ok())
    }

    /// What device-mapper has logged since then, less what it says of devices other than
    /// `device`.
    pub(crate) fn reasons(self, device: Option<Device>) -> Vec<String> {
        let mut messages = Vec::new();
        let Some(mut log) = self.0 else {
            return messages;
        };
        let mut record = [0; RECORD];
        loop {
            match log.read(&mut record) {
                Ok(0) => break,
                Ok(length) => messages.extend(message(&record[..length])),
                // Records were overwritten before they could be read: go on with the next.
                Err(error) if error.raw_os_error() == Some(EPIPE) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        reasons(&messages, device)
    }
}

/// The message of a record `PRIORITY,SEQUENCE,TIME,FLAGS;MESSAGE\n`, if it is device-mapper's.
fn message(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (_, message) = record.split_once(';')?;
    let message = message.lines().next()?.strip_prefix(PREFIX)?;
    Some(message.to_owned())
}

fn reasons(messages: &[String], device: Option<Device>) -> Vec<String> {
    let mut specific = Vec::new();
    let mut general = Vec::new();
    for message in messages {
        // Messages of the table code are `table: MAJOR:MINOR: REASON`, most others `PART: REASON`.
        let mut parts = message.splitn(3, ": ");
        let (part, second, rest) = (parts.next(), parts.next(), parts.next());
        match (
            second.and_then(|second| second.parse::<Device>().ok()),
            rest,
        ) {
            (Some(named), Some(reason)) if device.is_none_or(|device| device == named) => {
                specific.push(reason.to_owned());
            }
            (Some(_), _) => {}
            (None, _) if part == Some("ioctl") => general.push(message.clone()),
            (None, _) => specific.push(message.clone()),
        }
    }
    // The ioctl code only says that something failed, which is known.
    if specific.is_empty() {
        general
    } else {
        specific
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Option<Device> = Some(Device {
        major: 253,
        minor: 0,
    });

    fn of(lines: &[&str]) -> Vec<String> {
        let messages: Vec<String> = lines
            .iter()
            .filter_map(|line| message(line.as_bytes()))
            .collect();
        reasons(&messages, OURS)
    }

    #[test]
    fn finds_the_reason_among_the_rest() {
        assert_eq!(
            of(&[
                "6,339,5140900,-;NET: Registered PF_INET6 protocol family",
                "3,340,5140901,-;device-mapper: table: 253:1: linear: Not ours (-EINVAL)\n",
                "3,341,5140902,-;device-mapper: table: 253:0: linear: Invalid argument count \
                 (-EINVAL)\n SUBSYSTEM=block\n",
                "3,342,5140903,-;device-mapper: ioctl: error adding target to table\n",
            ]),
            ["linear: Invalid argument count (-EINVAL)"]
        );
    }

    #[test]
    fn a_general_reason_is_better_than_none() {
        assert_eq!(
            of(&["3,1,2,-;device-mapper: ioctl: device name cannot contain '/'\n"]),
            ["ioctl: device name cannot contain '/'"]
        );
        assert_eq!(
            of(&["3,1,2,-;device-mapper: crypt: Integrity AEAD failed\n"]),
            ["crypt: Integrity AEAD failed"]
        );
    }

    #[test]
    fn other_records_are_no_reason() {
        assert_eq!(message(b"no record at all"), None);
        assert_eq!(message(b"6,1,2,-;\xff\n"), None);
        assert!(reasons(&[], OURS).is_empty());
    }
}
