// SPDX-License-Identifier: GPL-2.0

//! Lower devices: what the mapped devices of the tests stand on.
//!
//! Each is fresh (it reads as zeroes where its driver stores data at all), and
//! is taken down when it is dropped; one that is still held by then is reported.

use crate::case::skip;
use crate::disk::{Disk, Mode};
use crate::{cleanup, sys, SECTOR};
use anyhow::{Context, Result};
use rustix::fs::{major, minor, stat};
use std::path::{Path, PathBuf};

mod brd;
mod loopdev;
mod nullb;
mod pmem;
mod scsi;

pub use brd::{ram, SECTORS as RAM_SECTORS};
pub use loopdev::{file, Loop};
pub use nullb::{null, NullBlk};
pub use pmem::pmem;
pub use scsi::{scsi, ScsiDebug};

/// A lower device.
pub struct Lower {
    path: PathBuf,
    devno: String,
    sectors: u64,
    /// Takes the device down.
    _guard: Box<dyn Guard>,
}

/// What takes a lower device down when it is dropped.
trait Guard {}

impl Lower {
    fn new(path: PathBuf, guard: impl Guard + 'static) -> Result<Lower> {
        let device = stat(&path).with_context(|| format!("{} is missing", path.display()))?;
        let disk = Disk::open(&path, Mode::ReadOnly)
            .with_context(|| format!("cannot open {}", path.display()))?;
        // What somebody set on a device of this number stays with the number.
        sys::BLKROSET.call(disk.file(), &mut 0_i32.to_ne_bytes())?;
        Ok(Lower {
            devno: format!("{}:{}", major(device.st_rdev), minor(device.st_rdev)),
            sectors: disk.sectors()?,
            path,
            _guard: Box::new(guard),
        })
    }

    /// A device that somebody else sets up and takes down.
    pub fn borrowed(path: &Path) -> Result<Lower> {
        Lower::new(path.into(), Machine)
    }

    /// The device node.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The device node, for a table.
    pub fn node(&self) -> String {
        self.path.display().to_string()
    }

    /// `major:minor`.
    pub fn devno(&self) -> &str {
        &self.devno
    }

    /// Size in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// The kernel's name, such as `ram0`.
    pub fn kernel_name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Opens it with direct I/O, beside a mapped device that holds it.
    pub fn open(&self) -> Result<Disk> {
        let disk = Disk::open(&self.path, Mode::Direct);
        disk.with_context(|| format!("cannot open {}", self.path.display()))
    }
}

/// A device of the machine, found by name and given back as it is.
struct Machine;

impl Guard for Machine {}

/// The virtio disk, zeroed.
///
/// # Errors
/// [`crate::case::Skip`] on a boot without one.
pub fn virtio() -> Result<Lower> {
    let lower = machine("/dev/vda", "boot with a virtio disk")?;
    let disk = lower.open()?;
    sys::BLKZEROOUT.range(disk.file(), 0, lower.sectors() * SECTOR)?;
    Ok(lower)
}

fn machine(path: &str, advice: &str) -> Result<Lower> {
    if !Path::new(path).exists() {
        return Err(skip(format!("no {path}: {advice}")));
    }
    Lower::new(path.into(), Machine)
}

/// Makes the whole device read as zeroes.
fn discard_all(path: &Path) -> Result<()> {
    let disk = Disk::open(path, Mode::Buffered)?;
    let len = sys::BLKGETSIZE64.number(disk.file())?;
    sys::BLKDISCARD.range(disk.file(), 0, len)?;
    Ok(())
}

/// Reports a device that somebody still holds when its test gives it back.
fn check_released(path: &Path) {
    if let Err(e) = crate::disk::expect_released(path) {
        cleanup::left_behind(path.display().to_string(), format!("{e:#}"));
    }
}
