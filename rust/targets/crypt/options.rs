// SPDX-License-Identifier: GPL-2.0

//! The optional arguments of a table.
//!
//! Free of kernel types: the host's unit tests include this file as it is.

use super::scan::{leading_u32, scan_u16, scan_u32};
use core::ffi::CStr;

/// The largest integrity tag, in bytes.
const MAX_TAG_SIZE: u32 = 480;
/// How many options there are at most.
const MAX_OPTIONS: u32 = 9;

/// What the options say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Options<'a> {
    pub(crate) allow_discards: bool,
    pub(crate) same_cpu_crypt: bool,
    pub(crate) high_priority: bool,
    pub(crate) submit_from_crypt_cpus: bool,
    pub(crate) no_read_workqueue: bool,
    pub(crate) no_write_workqueue: bool,
    pub(crate) iv_large_sectors: bool,
    /// Bytes, a power of two from 512 to 4096.
    pub(crate) sector_size: u16,
    pub(crate) integrity: Option<Integrity<'a>>,
    /// Bytes of the key that are for the hash.
    pub(crate) integrity_key_size: Option<u32>,
}

/// `integrity:SIZE:KIND`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Integrity<'a> {
    /// Bytes for each sector.
    pub(crate) tag_size: u32,
    /// As it was written, in upper or lower case.
    pub(crate) kind: &'a [u8],
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            allow_discards: false,
            same_cpu_crypt: false,
            high_priority: false,
            submit_from_crypt_cpus: false,
            no_read_workqueue: false,
            no_write_workqueue: false,
            iv_large_sectors: false,
            sector_size: 512,
            integrity: None,
            integrity_key_size: None,
        }
    }
}

impl<'a> Options<'a> {
    /// Whether the cipher authenticates. Stays so when a later option names another kind.
    pub(crate) fn parse<I>(mut args: I, len: u64) -> Result<(Self, bool), &'static CStr>
    where
        I: ExactSizeIterator<Item = &'a [u8]>,
    {
        let mut options = Self::default();
        let mut aead = false;

        if args.len() == 0 {
            return Ok((options, aead));
        }
        let count = args
            .next()
            .and_then(scan_u32)
            .filter(|count| *count <= MAX_OPTIONS && *count as usize <= args.len())
            .ok_or(c"Invalid number of feature args")?;

        for _ in 0..count {
            let option = args.next().ok_or(c"Not enough feature arguments")?;

            options.set(option, len)?;
            aead |= options.integrity.is_some_and(|i| i.is_aead());
        }
        Ok((options, aead))
    }

    fn set(&mut self, option: &'a [u8], len: u64) -> Result<(), &'static CStr> {
        let flags: [(&[u8], &mut bool); 7] = [
            (b"allow_discards", &mut self.allow_discards),
            (b"same_cpu_crypt", &mut self.same_cpu_crypt),
            (b"high_priority", &mut self.high_priority),
            (b"submit_from_crypt_cpus", &mut self.submit_from_crypt_cpus),
            (b"no_read_workqueue", &mut self.no_read_workqueue),
            (b"no_write_workqueue", &mut self.no_write_workqueue),
            (b"iv_large_sectors", &mut self.iv_large_sectors),
        ];

        for (name, flag) in flags {
            if option.eq_ignore_ascii_case(name) {
                *flag = true;
                return Ok(());
            }
        }
        if let Some((size, rest)) = option.strip_prefix(b"integrity:").and_then(leading_u32) {
            self.integrity = Some(Integrity::new(size, rest)?);
        } else if let Some(size) = option
            .strip_prefix(b"integrity_key_size:")
            .and_then(scan_u32)
        {
            if size == 0 {
                return Err(c"Invalid integrity_key_size argument");
            }
            self.integrity_key_size = Some(size);
        } else if let Some(size) = option.strip_prefix(b"sector_size:").and_then(scan_u16) {
            if !(512..=4096).contains(&size) || !size.is_power_of_two() {
                return Err(c"Invalid feature value for sector_size");
            }
            if len % u64::from(size / 512) != 0 {
                return Err(c"Device size is not multiple of sector_size feature");
            }
            self.sector_size = size;
        } else {
            return Err(c"Invalid feature arguments");
        }
        Ok(())
    }
}

impl<'a> Integrity<'a> {
    fn new(tag_size: u32, rest: &'a [u8]) -> Result<Self, &'static CStr> {
        if tag_size == 0 || tag_size > MAX_TAG_SIZE {
            return Err(c"Invalid integrity arguments");
        }
        // What lies between the number and the colon is skipped.
        let colon = rest.iter().position(|c| *c == b':');
        let kind = colon
            .and_then(|colon| rest.get(colon.wrapping_add(1)..))
            .ok_or(c"Unknown integrity profile")?;
        let integrity = Self { tag_size, kind };

        if integrity.is_aead() || kind.eq_ignore_ascii_case(b"none") {
            Ok(integrity)
        } else {
            Err(c"Unknown integrity profile")
        }
    }

    fn is_aead(&self) -> bool {
        self.kind.eq_ignore_ascii_case(b"aead")
    }
}
