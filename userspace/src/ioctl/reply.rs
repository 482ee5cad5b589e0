// SPDX-License-Identifier: GPL-2.0

//! What the kernel answers, taken apart.

use std::mem::{offset_of, size_of};

use devicemapper::{Device, DmFlags};
use devicemapper_sys::{
    dm_ioctl, dm_name_list, dm_target_deps, dm_target_spec, dm_target_versions,
};
use zeroize::Zeroizing;

use super::Failure;
use crate::table::{Table, Target};

/// What the kernel answered.
pub(crate) struct Reply {
    buffer: Zeroizing<Vec<u8>>,
}

pub(super) fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The bytes from `at` to the next NUL.
fn bytes_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(&bytes[..end])
}

/// The text from `at` to the next NUL. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn text(bytes: &[u8], at: usize) -> Option<String> {
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
    pub(super) fn new(buffer: Zeroizing<Vec<u8>>) -> Reply {
        Reply { buffer }
    }

    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

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

    pub(super) fn data(&self) -> Result<&[u8], Failure> {
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

    /// The devices that a table uses.
    pub(crate) fn dependencies(&self) -> Result<Vec<Device>, Failure> {
        let data = self.data()?;
        if data.is_empty() {
            return Ok(Vec::new());
        }
        let count = number(data, offset_of!(dm_target_deps, count)).map(u32::from_ne_bytes);
        let count = count.ok_or(Failure::Malformed)? as usize;
        let numbers = data
            .get(size_of::<dm_target_deps>()..)
            .ok_or(Failure::Malformed)?;
        let devices: Vec<_> = numbers
            .chunks_exact(size_of::<u64>())
            .take(count)
            .filter_map(|bytes| number(bytes, 0).map(u64::from_ne_bytes))
            .map(|device| Device::from_kdev_t(device as u32))
            .collect();
        match devices.len() == count {
            true => Ok(devices),
            false => Err(Failure::Malformed),
        }
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
