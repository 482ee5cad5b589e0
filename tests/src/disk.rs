// SPDX-License-Identifier: GPL-2.0

//! Reads and writes block devices, with data that tells where it belongs.

use crate::{sys, SECTOR};
use anyhow::{bail, Context, Result};
use memmap2::MmapMut;
use rustix::fs::OFlags;
use rustix::io::ReadWriteFlags;
use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How to open a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Through the page cache.
    Buffered,
    /// `O_DIRECT`.
    Direct,
    /// `O_DIRECT`, for reading only.
    ReadOnly,
    /// Fails if the kernel or somebody else has claimed the device.
    Exclusive,
}

/// An open block device.
pub struct Disk {
    file: File,
}

impl Disk {
    /// Opens a device.
    pub fn open(path: &Path, mode: Mode) -> io::Result<Disk> {
        let flags = match mode {
            Mode::Buffered => OFlags::empty(),
            Mode::Direct | Mode::ReadOnly => OFlags::DIRECT,
            Mode::Exclusive => OFlags::EXCL,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(mode != Mode::ReadOnly)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        Ok(Disk { file })
    }

    /// For ioctls.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Size in sectors.
    pub fn sectors(&self) -> Result<u64> {
        Ok(sys::BLKGETSIZE64.number(&self.file)? / SECTOR)
    }

    /// Reads exactly `count` sectors.
    pub fn read(&self, sector: u64, count: u64) -> io::Result<Vec<u8>> {
        let mut buffer = Aligned::new((count * SECTOR) as usize)?;
        self.file.read_exact_at(&mut buffer, sector * SECTOR)?;
        Ok(buffer.to_vec())
    }

    /// Writes whole sectors.
    pub fn write(&self, sector: u64, data: &[u8]) -> io::Result<()> {
        self.file
            .write_all_at(&Aligned::from(data)?, sector * SECTOR)
    }

    /// One `preadv2` with flags: the number of bytes that were read.
    pub fn read_with(&self, sector: u64, count: u64, flags: ReadWriteFlags) -> io::Result<usize> {
        let mut buffer = Aligned::new((count * SECTOR) as usize)?;
        let mut slices = [IoSliceMut::new(&mut buffer)];
        Ok(rustix::io::preadv2(
            &self.file,
            &mut slices,
            sector * SECTOR,
            flags,
        )?)
    }

    /// One `pwritev2` with flags: the number of bytes that were written.
    pub fn write_with(&self, sector: u64, data: &[u8], flags: ReadWriteFlags) -> io::Result<usize> {
        let buffer = Aligned::from(data)?;
        let slices = [IoSlice::new(&buffer)];
        Ok(rustix::io::pwritev2(
            &self.file,
            &slices,
            sector * SECTOR,
            flags,
        )?)
    }

    /// `fsync`, which sends a flush to the device.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Compares what is on the device with [`pattern`] data.
    ///
    /// # Errors
    /// Names the first sector that differs.
    pub fn expect_pattern(&self, sector: u64, seed: u64, first: u64, count: u64) -> Result<()> {
        let found = self.read(sector, count)?;
        expect_equal(&found, &pattern(seed, first, count), sector)
    }
}

/// Compares data read from `sector` on with what should be there.
///
/// # Errors
/// Names the first sector that differs.
pub fn expect_equal(found: &[u8], wanted: &[u8], sector: u64) -> Result<()> {
    if found.len() != wanted.len() {
        bail!("{} bytes where {} were wanted", found.len(), wanted.len());
    }
    let size = SECTOR as usize;
    let pairs = found.chunks(size).zip(wanted.chunks(size));
    match pairs.enumerate().find(|(_, (f, w))| f != w) {
        None => Ok(()),
        Some((i, (f, w))) => bail!(
            "sector {} holds {:02x?}.. where {:02x?}.. should be",
            sector + i as u64,
            &f[..16],
            &w[..16],
        ),
    }
}

/// `count` sectors of data, each of which differs from every other of the same
/// seed: sector `first` of it and those after.
pub fn pattern(seed: u64, first: u64, count: u64) -> Vec<u8> {
    let mut data = vec![0; (count * SECTOR) as usize];
    for (sector, bytes) in (first..).zip(data.chunks_mut(SECTOR as usize)) {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ sector);
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..16].copy_from_slice(&sector.to_le_bytes());
        rng.fill(&mut bytes[16..]);
    }
    data
}

/// A number that tells different contents of `sectors` from `first` on apart.
pub fn digest(disk: &Disk, first: u64, sectors: u64) -> io::Result<u64> {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    const STEP: u64 = 2048;
    for sector in (first..first + sectors).step_by(STEP as usize) {
        hasher.write(&disk.read(sector, STEP.min(first + sectors - sector))?);
    }
    Ok(hasher.finish())
}

thread_local! {
    /// Kept from one use to the next: to map memory anew costs more than to read a few sectors.
    static KEPT: Cell<Option<MmapMut>> = const { Cell::new(None) };
}

/// Memory that direct I/O accepts on every device.
struct Aligned {
    /// There until it is dropped.
    memory: Option<MmapMut>,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> io::Result<Aligned> {
        let memory = match KEPT.take() {
            Some(kept) if kept.len() >= len => kept,
            _ => MmapMut::map_anon(len.next_multiple_of(1 << 16))?,
        };
        Ok(Aligned {
            memory: Some(memory),
            len,
        })
    }

    fn from(data: &[u8]) -> io::Result<Aligned> {
        let mut buffer = Aligned::new(data.len())?;
        buffer.copy_from_slice(data);
        Ok(buffer)
    }
}

impl Deref for Aligned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.as_deref().unwrap_or_default()[..self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory.as_deref_mut().unwrap_or_default()[..self.len]
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        KEPT.set(self.memory.take());
    }
}

/// Fails if anything in the kernel or elsewhere still holds the device.
pub fn expect_released(path: &Path) -> Result<()> {
    Disk::open(path, Mode::Exclusive)
        .map(drop)
        .with_context(|| format!("{} is still held by someone", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_depends_on_seed_and_sector_only() {
        let whole = pattern(7, 100, 4);
        assert_eq!(whole.len(), 2048);
        assert_eq!(pattern(7, 102, 1), whole[1024..1536]);
        assert_ne!(pattern(8, 102, 1), whole[1024..1536]);
        assert_ne!(whole[..512], whole[512..1024]);
    }

    #[test]
    fn a_difference_is_named_by_its_sector() {
        let wanted = pattern(1, 0, 3);
        let mut found = wanted.clone();
        assert!(expect_equal(&found, &wanted, 10).is_ok());
        found[1500] ^= 1;
        let error = expect_equal(&found, &wanted, 10).unwrap_err().to_string();
        assert!(error.starts_with("sector 12 "), "{error}");
        assert!(expect_equal(&found[..512], &wanted, 10).is_err());
    }
}
