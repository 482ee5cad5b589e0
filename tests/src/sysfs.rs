// SPDX-License-Identifier: GPL-2.0

//! What sysfs says of a block device.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Whether there is such a device.
pub fn exists(device: &str) -> bool {
    Path::new("/sys/block").join(device).exists()
}

/// All files of `/sys/block/<device>/<dir>`, by name, with their contents.
pub fn dir(device: &str, dir: &str) -> Result<Vec<(String, String)>> {
    let path = Path::new("/sys/block").join(device).join(dir);
    let mut files = Vec::new();
    for entry in fs::read_dir(&path).with_context(|| format!("no {}", path.display()))? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        // Some files cannot be read on some devices, and that has to be the
        // same for both twins too.
        let value = match fs::read_to_string(entry.path()) {
            Ok(value) => value.trim_end().to_owned(),
            Err(e) => crate::dm::errno_name(&e),
        };
        files.push((name, value));
    }
    files.sort();
    Ok(files)
}

/// One file of `/sys/block/<device>`.
pub fn file(device: &str, file: &str) -> Result<String> {
    let path = Path::new("/sys/block").join(device).join(file);
    let text = fs::read_to_string(&path);
    Ok(text
        .with_context(|| format!("cannot read {}", path.display()))?
        .trim_end()
        .to_owned())
}
