// SPDX-License-Identifier: GPL-2.0

//! The machine that this runs on.

use std::{
    cell::OnceCell,
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use super::{grammar, nearest, DeviceFacts, Lookup, System, TargetState};
use crate::{block::Block, dm::Dm, holders};

/// Looks at this machine: sysfs, the modules' lists, and device-mapper if it may be asked.
pub struct LiveSystem<'a> {
    dm: Option<&'a Dm>,
    loaded: OnceCell<Option<Vec<String>>>,
}

impl<'a> LiveSystem<'a> {
    /// Without `dm`, targets that are not loaded and whose module is not found are not judged.
    pub fn new(dm: Option<&'a Dm>) -> LiveSystem<'a> {
        LiveSystem {
            dm,
            loaded: OnceCell::new(),
        }
    }

    fn loaded(&self) -> Option<&[String]> {
        let loaded = self.loaded.get_or_init(|| {
            let targets = self.dm?.targets().ok()?;
            Some(targets.into_iter().map(|target| target.name).collect())
        });
        loaded.as_deref()
    }
}

impl System for LiveSystem<'_> {
    fn device(&self, text: &str) -> Lookup {
        match Block::find(text) {
            Ok(block) => Lookup::Found(DeviceFacts {
                device: Some(block.device),
                sectors: block.sectors(),
                logical_block_size: block.logical_block_size(),
                read_only: block.is_read_only(),
                holder: holders::exclusive_holder(&block).map(|holder| holder.to_string()),
            }),
            Err(error) => match error.kind() {
                ErrorKind::InvalidInput => Lookup::NoDevice,
                ErrorKind::NotFound => Lookup::Missing(near_path(text)),
                _ => Lookup::Unknown,
            },
        }
    }

    fn target(&self, name: &str) -> TargetState {
        let Some(loaded) = self.loaded() else {
            return TargetState::Untold;
        };
        if loaded.iter().any(|target| target == name) {
            return TargetState::Usable;
        }
        // The kernel tries to load a module, and tells.
        match self.dm.map(|dm| dm.can_have_target(name)) {
            Some(Ok(true)) => TargetState::Usable,
            Some(Ok(false)) => TargetState::Unknown,
            Some(Err(_)) | None => TargetState::Untold,
        }
    }

    fn target_names(&self) -> Vec<String> {
        let mut names: Vec<_> = grammar::IN_TREE.iter().map(|&n| n.to_owned()).collect();
        names.extend(self.loaded().unwrap_or_default().iter().cloned());
        names.sort();
        names.dedup();
        names
    }
}

/// The path most like `text` in the same directory.
fn near_path(text: &str) -> Option<String> {
    let path = Path::new(text);
    let directory = path.parent().filter(|parent| parent.is_absolute())?;
    let names = || -> io::Result<Vec<String>> {
        let entries = fs::read_dir(directory)?.flatten();
        Ok(entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    };
    let near = nearest(&path.file_name()?.to_string_lossy(), &names().ok()?)?;
    Some(directory.join(near).display().to_string())
}
