// SPDX-License-Identifier: GPL-2.0

//! The nodes in `/dev/mapper`, set right.

use std::{fs, path::PathBuf};

use devicemapper::DmNameBuf;

use super::{DeviceId, Dm, Slot};
use crate::{
    error::{Error, Result},
    node,
};

/// What [`Dm::make_nodes`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesMade {
    /// The nodes that were missing or wrong.
    pub made: Vec<PathBuf>,
    /// The nodes of devices that are gone.
    pub removed: Vec<PathBuf>,
}

impl Dm {
    /// Makes the nodes that are missing, of the devices in `ids` or else of all, and in the
    /// second case removes those of devices that are gone.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchDevice`], or [`Error::Node`].
    pub fn make_nodes(&self, ids: Option<&[DeviceId]>) -> Result<NodesMade> {
        let listed = self.list()?;
        let mut done = NodesMade::default();
        let all: Vec<_>;
        let wanted = match ids {
            Some(ids) => ids,
            None => {
                all = listed
                    .iter()
                    .map(|listed| DeviceId::Number(listed.device))
                    .collect();
                &all
            }
        };
        for id in wanted {
            let info = self.info(id, Slot::Live)?;
            // Like the kernel's own, a node comes with the first table.
            if info.live_table && node::ensure(&info.name, info.device)? {
                done.made.push(node::path(&info.name));
            }
        }
        if ids.is_none() {
            let names: Vec<&DmNameBuf> = listed.iter().map(|listed| &listed.name).collect();
            done.removed = remove_stale(&names)?;
        }
        Ok(done)
    }
}

/// Removes block nodes, and links that lead nowhere, under names that no device has.
fn remove_stale(names: &[&DmNameBuf]) -> Result<Vec<PathBuf>> {
    let failed = |path: PathBuf, verb, source| Error::Node { verb, path, source };
    let directory = PathBuf::from(node::DIRECTORY);
    let entries = fs::read_dir(&directory).map_err(|e| failed(directory, "read", e))?;
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let known = names
            .iter()
            .any(|known| known.to_string() == *name.to_string_lossy());
        if !known && node::is_stale(&entry.path()) {
            fs::remove_file(entry.path()).map_err(|e| failed(entry.path(), "remove", e))?;
            removed.push(entry.path());
        }
    }
    removed.sort();
    Ok(removed)
}
