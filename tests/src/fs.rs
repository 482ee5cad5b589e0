// SPDX-License-Identifier: GPL-2.0

//! Mounted file systems.

use crate::{cleanup, process};
use anyhow::{Context, Result};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::ffi::CString;
use std::path::Path;
use tempfile::TempDir;

/// A mounted file system, unmounted when it is dropped.
pub struct Mounted {
    dir: TempDir,
}

impl Mounted {
    /// Mounts `device` on a new directory. `options` are the file system's own.
    pub fn new(device: &Path, kind: &str, options: &str) -> Result<Mounted> {
        let dir = TempDir::new()?;
        let data = CString::new(options)?;
        crate::module::modprobe(kind, &[])?;
        mount(
            device,
            dir.path(),
            kind,
            MountFlags::empty(),
            data.as_c_str(),
        )
        .with_context(|| format!("cannot mount {} with {options:?}", device.display()))?;
        Ok(Mounted { dir })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(e) = unmount(self.dir.path(), UnmountFlags::empty()) {
            cleanup::left_behind(format!("mount {}", self.dir.path().display()), e);
        }
    }
}

/// Makes a file system of 4096-byte blocks.
pub fn make(device: &Path, kind: &str) -> Result<()> {
    let node = device.to_string_lossy();
    match kind {
        // No lazy initialisation: it would go on in the background.
        "ext4" => process::run(
            "mkfs.ext4",
            &[
                "-q",
                "-F",
                "-b",
                "4096",
                "-E",
                "lazy_itable_init=0,lazy_journal_init=0",
                &node,
            ],
        ),
        _ => process::run(&format!("mkfs.{kind}"), &["-q", "-f", &node]),
    }
    .map(drop)
}

/// Checks an unmounted file system without changing it.
pub fn check(device: &Path, kind: &str) -> Result<()> {
    let node = device.to_string_lossy();
    match kind {
        "ext4" => process::run("e2fsck", &["-f", "-n", &node]),
        _ => process::run("xfs_repair", &["-n", &node]),
    }
    .map(drop)
}
