// SPDX-License-Identifier: GPL-2.0

//! Loop devices over files on a tmpfs.

use super::{check_released, Guard, Lower};
use crate::{cleanup, process, SECTOR};
use anyhow::Result;
use std::path::PathBuf;
use tempfile::NamedTempFile;

/// What a loop device is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    /// Size in sectors.
    pub sectors: u64,
    /// Logical block size in bytes.
    pub block: u64,
    /// Whether it refuses writes.
    pub read_only: bool,
}

struct Attached {
    node: PathBuf,
    _file: NamedTempFile,
}

impl Guard for Attached {}

impl Drop for Attached {
    fn drop(&mut self) {
        check_released(&self.node);
        if let Err(e) = process::run("losetup", &["--detach", &self.node.to_string_lossy()]) {
            cleanup::left_behind(self.node.display().to_string(), format!("{e:#}"));
        }
    }
}

/// A loop device over a sparse file.
pub fn file(kind: Loop) -> Result<Lower> {
    let file = NamedTempFile::new()?;
    file.as_file().set_len(kind.sectors * SECTOR)?;
    let block = kind.block.to_string();
    let path = file.path().to_string_lossy().into_owned();
    let mut args = vec!["--find", "--show", "--sector-size", &block];
    if kind.read_only {
        args.push("--read-only");
    }
    args.push(&path);
    let node: PathBuf = process::run("losetup", &args)?.trim().into();
    Lower::new(node.clone(), Attached { node, _file: file })
}
