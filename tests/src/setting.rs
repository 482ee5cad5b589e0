// SPDX-License-Identifier: GPL-2.0

//! Settings of the kernel.

use crate::cleanup;
use anyhow::{Context, Result};
use std::fs;

/// A setting of the kernel, put back when it is dropped.
pub struct Setting {
    path: String,
    before: String,
}

impl Setting {
    /// Writes a file of `/proc/sys` or `/sys`.
    pub fn new(path: impl Into<String>, value: &str) -> Result<Setting> {
        let path = path.into();
        let before = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
        Ok(Setting { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(e) = fs::write(&self.path, &self.before) {
            cleanup::left_behind(self.path.as_str(), e);
        }
    }
}
