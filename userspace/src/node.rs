// SPDX-License-Identifier: GPL-2.0

//! The nodes in `/dev/mapper`: udev's work where it runs, ours where it does not.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use devicemapper::{Device, DmName};
use nix::sys::stat::{makedev, mknod, Mode, SFlag};

use crate::error::{Error, Result};

/// Where the nodes are.
pub const DIRECTORY: &str = "/dev/mapper";

/// The number of the block device at `path`, or `None` if what is there is no block device.
///
/// # Errors
///
/// Whatever keeps the path from being looked at.
pub fn block_device(path: &Path) -> io::Result<Option<Device>> {
    let metadata = fs::metadata(path)?;
    Ok(metadata
        .file_type()
        .is_block_device()
        .then(|| Device::from(metadata.rdev())))
}

/// The path of a device's node. The kernel allows no slash in names, so it stays in
/// [`DIRECTORY`].
pub fn path(name: &DmName) -> PathBuf {
    Path::new(DIRECTORY).join(name.to_string())
}

fn number(device: Device) -> nix::libc::dev_t {
    makedev(u64::from(device.major), u64::from(device.minor))
}

/// Whether there is a block node at `path` or a link that leads nowhere.
pub(crate) fn is_stale(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_block_device() || (kind.is_symlink() && fs::metadata(path).is_err())
    })
}

/// Makes the node of a device, unless it is there already, and tells whether it did.
pub(crate) fn ensure(name: &DmName, device: Device) -> Result<bool> {
    let path = path(name);
    if matches!(block_device(&path), Ok(Some(found)) if found == device) {
        return Ok(false);
    }
    let failed = |path: PathBuf, source: io::Error| Error::Node {
        verb: "make",
        path,
        source,
    };
    if let Err(error) = discard(&path) {
        return Err(failed(path, error));
    }
    let made = mknod(
        &path,
        SFlag::S_IFBLK,
        Mode::S_IRUSR | Mode::S_IWUSR,
        number(device),
    );
    match made {
        Ok(()) => Ok(true),
        // udev has been faster after all.
        Err(nix::Error::EEXIST) => Ok(false),
        Err(errno) => Err(failed(path, errno.into())),
    }
}

/// Removes what is at `path` if it is a block node or a dangling link: those are left from a
/// device that is gone. Anything else there is someone's own.
fn discard(path: &Path) -> io::Result<()> {
    let kind = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let stale =
        kind.is_block_device() || (kind.is_symlink() && !matches!(block_device(path), Ok(None)));
    if !stale {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "something that is no block device is there",
        ));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes the node of a device that is gone. With `links_too`, also a link: where udev runs,
/// links are its own.
pub(crate) fn remove(name: &DmName, device: Device, links_too: bool) -> Result<()> {
    let path = path(name);
    let ours = match fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.file_type().is_block_device() => {
            Device::from(metadata.rdev()) == device
        }
        Ok(metadata) => links_too && metadata.file_type().is_symlink(),
        Err(_) => false,
    };
    if !ours {
        return Ok(());
    }
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::Node {
            verb: "remove",
            path,
            source,
        }),
        _ => Ok(()),
    }
}
