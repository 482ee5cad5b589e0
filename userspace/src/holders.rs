// SPDX-License-Identifier: GPL-2.0

//! Who uses a device.

use std::{
    fmt, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process,
};

use devicemapper::Device;
use procfs::process::{all_processes, FDTarget, Process};

use crate::{block::Block, node};

/// Someone who uses a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A device that stands on it.
    Device {
        /// Its name for people.
        name: String,
        /// Its number.
        device: Device,
    },
    /// A file system on it that is mounted.
    Mount {
        /// Where.
        path: PathBuf,
        /// Its kind, such as `ext4`.
        kind: String,
    },
    /// It is swapped to.
    Swap,
    /// A process that has it open.
    Process {
        /// The process' number.
        pid: i32,
        /// The name of its program.
        name: String,
    },
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Device { name, device } => write!(f, "device {name} ({device}) stands on it"),
            Holder::Mount { path, kind } => {
                write!(f, "it is mounted on {} ({kind})", path.display())
            }
            Holder::Swap => write!(f, "it is in use as swap space"),
            Holder::Process { pid, name } => write!(f, "process {pid} ({name}) has it open"),
        }
    }
}

/// All who are seen to use a device. Mounts in other name spaces, and processes of other users if
/// one is not root, are not seen.
pub fn holders(device: Device) -> Vec<Holder> {
    let mut holders = Vec::new();
    if let Some(block) = Block::new(device) {
        holders.extend(block.holders().into_iter().map(|holder| Holder::Device {
            name: holder.shown_name(),
            device: holder.device,
        }));
    }
    holders.extend(mounts(device));
    holders.extend(is_swap(device).then_some(Holder::Swap));
    holders.extend(processes(device));
    holders
}

/// Who uses a device in a way that keeps a table from using it too. Devices of device-mapper do
/// not: they share.
pub(crate) fn exclusive_holder(block: &Block) -> Option<Holder> {
    let other = block
        .holders()
        .into_iter()
        .find(|holder| holder.dm_name().is_none())
        .map(|holder| Holder::Device {
            name: holder.shown_name(),
            device: holder.device,
        });
    other
        .or_else(|| mounts(block.device).into_iter().next())
        .or_else(|| is_swap(block.device).then_some(Holder::Swap))
}

fn mounts(device: Device) -> Vec<Holder> {
    let infos = Process::myself().and_then(|process| process.mountinfo());
    let number = device.to_string();
    let mut mounts: Vec<_> = infos
        .into_iter()
        .flatten()
        .filter(|mount| {
            // Some file systems (btrfs) have numbers of their own.
            let source = || is_node_of(Path::new(mount.mount_source.as_deref()?), device);
            mount.majmin == number || source() == Some(true)
        })
        .map(|mount| Holder::Mount {
            path: mount.mount_point,
            kind: mount.fs_type,
        })
        .collect();
    mounts.dedup();
    mounts
}

fn is_node_of(path: &Path, device: Device) -> Option<bool> {
    if !path.starts_with("/dev") {
        return None;
    }
    Some(node::block_device(path).ok()?? == device)
}

/// Whether `/proc/swaps` has it.
fn is_swap(device: Device) -> bool {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    swaps
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .any(|path| is_node_of(Path::new(path), device) == Some(true))
}

fn processes(device: Device) -> Vec<Holder> {
    let own = i32::try_from(process::id()).unwrap_or(-1);
    all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| process.pid != own && has_open(process, device))
        .map(|process| Holder::Process {
            pid: process.pid,
            name: process
                .stat()
                .map_or_else(|_| "?".to_owned(), |stat| stat.comm),
        })
        .collect()
}

fn has_open(process: &Process, device: Device) -> bool {
    let descriptors = process.fd().into_iter().flatten().flatten();
    descriptors
        .filter(|fd| matches!(&fd.target, FDTarget::Path(path) if path.starts_with("/dev")))
        .any(|fd| {
            // What is open, whatever has become of its name.
            fs::metadata(format!("/proc/{}/fd/{}", process.pid, fd.fd)).is_ok_and(|metadata| {
                metadata.file_type().is_block_device() && Device::from(metadata.rdev()) == device
            })
        })
}
