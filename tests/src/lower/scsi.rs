// SPDX-License-Identifier: GPL-2.0

//! A SCSI disk emulated by `scsi_debug`.

use super::{check_released, Guard, Lower};
use crate::cleanup;
use crate::module::{modprobe, rmmod};
use crate::wait;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// Parameters of `scsi_debug`, by their names in the kernel.
pub type ScsiDebug = &'static [&'static str];

struct Loaded;

impl Guard for Loaded {}

impl Drop for Loaded {
    fn drop(&mut self) {
        if let Some(node) = disk() {
            check_released(&node);
        }
        if let Err(e) = rmmod("scsi_debug") {
            cleanup::left_behind("scsi_debug", format!("{e:#}"));
        }
    }
}

/// The disk of the one host that `scsi_debug` makes.
fn disk() -> Option<PathBuf> {
    let devices = fs::read_dir("/sys/bus/pseudo/drivers/scsi_debug/adapter0").ok()?;
    let host = devices
        .flatten()
        .find(|d| d.file_name().to_string_lossy().starts_with("host"))?;
    let mut dirs = vec![host.path()];
    while let Some(dir) = dirs.pop() {
        if dir.ends_with("block") {
            let name = fs::read_dir(&dir).ok()?.flatten().next()?.file_name();
            return Some(Path::new("/dev").join(name));
        }
        let children = fs::read_dir(&dir).ok()?.flatten();
        dirs.extend(
            children
                .filter(|c| c.file_type().is_ok_and(|t| t.is_dir()))
                .map(|c| c.path()),
        );
    }
    None
}

/// The SCSI disk; there is one at a time. `dev_size_mb` is 64 unless given, and
/// commands complete at once.
pub fn scsi(parameters: ScsiDebug) -> Result<Lower> {
    let mut all: Vec<String> = parameters.iter().map(|p| (*p).to_owned()).collect();
    for default in ["dev_size_mb=64", "delay=0"] {
        let key = &default[..=default.find('=').unwrap_or_default()];
        if !all.iter().any(|p| p.starts_with(key)) {
            all.push(default.to_owned());
        }
    }
    modprobe("scsi_debug", &all)?;
    let loaded = Loaded;
    // Its limits are set while the disk is probed, some time after the module
    // is loaded; the node appears at the end of that.
    let what = "a disk of scsi_debug (see the kernel log)";
    let node = wait::until(what, || Ok(disk().filter(|n| n.exists())))?;
    Lower::new(node, loaded)
}
