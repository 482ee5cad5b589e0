// SPDX-License-Identifier: GPL-2.0

//! `integrity` below a target that has metadata.

use crate::dm::{line, MappedDevice};
use crate::lower::Lower;
use anyhow::{ensure, Result};

/// A device that stores metadata beside each sector, without looking at them.
pub struct Integrity {
    /// What there is to write on.
    pub device: MappedDevice,
    /// How many there are.
    pub sectors: u64,
}

impl Integrity {
    /// `tag` bytes of metadata for each block of that many bytes. The lower device is formatted.
    ///
    /// # Errors
    /// If the kernel has no `integrity`, or the lower device is too small.
    pub fn new(lower: &Lower, tag: u32, block: u64) -> Result<Integrity> {
        let params = format!("{} 0 {tag} D 1 block_size:{block}", lower.node());
        // The kernel formats what is all zeroes, and writes down how much room there is.
        drop(MappedDevice::create(&[line(0, 8, "integrity", &params)])?);
        let superblock = lower.open()?.read(0, 1)?;
        ensure!(superblock.starts_with(b"integrt"), "it was not formatted");
        let room = u64::from_le_bytes(superblock[16..24].try_into()?);
        let sectors = room / 2048 * 2048;
        ensure!(sectors >= 2048, "{room} sectors only");
        Ok(Integrity {
            device: MappedDevice::create(&[line(0, sectors, "integrity", &params)])?,
            sectors,
        })
    }

    /// Its device node.
    pub fn node(&self) -> String {
        self.device.path().display().to_string()
    }
}
