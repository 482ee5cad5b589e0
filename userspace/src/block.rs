// SPDX-License-Identifier: GPL-2.0

//! What sysfs says of block devices.

use std::{
    fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use devicemapper::Device;

use crate::node;

/// A block device that is there, device-mapper's or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its number.
    pub device: Device,
    /// The kernel's name for it, such as `sda1` or `dm-0`.
    pub kernel_name: String,
    directory: PathBuf,
}

impl Block {
    /// The device with this number, if there is one.
    pub fn new(device: Device) -> Option<Block> {
        let directory = fs::canonicalize(format!("/sys/dev/block/{device}")).ok()?;
        let kernel_name = directory.file_name()?.to_string_lossy().into_owned();
        Some(Block {
            device,
            kernel_name,
            directory,
        })
    }

    /// The device that a table means by `text`: a path, or `MAJOR:MINOR`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the path from being looked at, [`io::ErrorKind::InvalidInput`] if what is
    /// there is no block device, [`io::ErrorKind::NotFound`] if there is no such device.
    pub fn find(text: &str) -> io::Result<Block> {
        let device = match text.parse::<Device>() {
            Ok(device) => device,
            Err(_) => node::block_device(Path::new(text))?
                .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?,
        };
        Block::new(device).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn read<T: FromStr>(&self, file: &str) -> Option<T> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        text.trim().parse().ok()
    }

    /// Its size in sectors of 512 bytes.
    pub fn sectors(&self) -> Option<u64> {
        self.read("size")
    }

    /// Whether it can only be read.
    pub fn is_read_only(&self) -> bool {
        self.read::<u8>("ro") == Some(1)
    }

    /// The smallest unit that it can be read or written in, in bytes.
    pub fn logical_block_size(&self) -> Option<u32> {
        self.limit("logical_block_size")?.parse().ok()
    }

    /// A limit of its queue, or of the disk's of which it is a partition.
    pub fn limit(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.queue()?.join(name)).ok()?;
        Some(text.trim().to_owned())
    }

    fn queue(&self) -> Option<PathBuf> {
        let own = self.directory.join("queue");
        match own.is_dir() {
            true => Some(own),
            false => Some(self.directory.parent()?.join("queue")).filter(|path| path.is_dir()),
        }
    }

    /// The names of all limits of its queue, sorted.
    pub fn limits(&self) -> Vec<String> {
        let entries = self.queue().and_then(|queue| fs::read_dir(queue).ok());
        let mut names: Vec<_> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Its name, if it is device-mapper's.
    pub fn dm_name(&self) -> Option<String> {
        self.read("dm/name")
    }

    /// The devices that stand on it, as the kernel names them.
    pub fn holders(&self) -> Vec<Block> {
        let entries = fs::read_dir(self.directory.join("holders"));
        let mut holders: Vec<_> = entries
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let number = fs::read_to_string(entry.path().join("dev")).ok()?;
                Block::new(number.trim().parse().ok()?)
            })
            .collect();
        holders.sort_by(|a, b| a.kernel_name.cmp(&b.kernel_name));
        holders
    }

    /// Its name for people: device-mapper's own, or the kernel's.
    pub fn shown_name(&self) -> String {
        match self.dm_name() {
            Some(name) => crate::name::unescape(&name),
            None => self.kernel_name.clone(),
        }
    }
}
