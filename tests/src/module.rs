// SPDX-License-Identifier: GPL-2.0

//! Loads and unloads the module under test.

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A module file, such as `dm-rust.ko`.
#[derive(Debug)]
pub struct Module {
    path: PathBuf,
    name: String,
}

impl Module {
    /// Does not look at the file yet.
    pub fn new(path: &Path) -> Module {
        let stem = path.file_stem().unwrap_or_default();
        Module {
            name: stem.to_string_lossy().replace('-', "_"),
            path: path.to_owned(),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As `insmod`.
    ///
    /// # Errors
    /// What the kernel answers, `EEXIST` if it is loaded.
    pub fn load(&self) -> Result<(), Errno> {
        self.load_with("")
    }

    /// As `insmod` with parameters.
    ///
    /// # Errors
    /// As [`Module::load`].
    pub fn load_with(&self, parameters: &str) -> Result<(), Errno> {
        let file =
            File::open(&self.path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let parameters = CString::new(parameters).map_err(|_| Errno::INVAL)?;
        rustix::system::finit_module(file, &parameters, 0)
    }

    /// As `rmmod`, without waiting.
    ///
    /// # Errors
    /// What the kernel answers, `EAGAIN` if it is in use.
    pub fn unload(&self) -> Result<(), Errno> {
        delete(&CString::new(self.name.as_str()).map_err(|_| Errno::INVAL)?)
    }

    /// Loads it unless it is loaded.
    pub fn ensure_loaded(&self) -> Result<()> {
        match self.load() {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e).with_context(|| {
                format!("cannot load {}: see the kernel log", self.path.display())
            }),
        }
    }

    /// Unloads it unless it is not loaded. A device that was just removed may
    /// hold the module for some milliseconds more.
    pub fn ensure_unloaded(&self) -> Result<()> {
        let mut tries = 1000;
        loop {
            match self.unload() {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::AGAIN) if tries > 0 => tries -= 1,
                Err(e) => return Err(e).with_context(|| format!("cannot unload {}", self.name)),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How many users the kernel counts; `None` if it is not loaded.
    pub fn users(&self) -> Option<u32> {
        let path = format!("/sys/module/{}/refcnt", self.name);
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

fn delete(name: &CStr) -> Result<(), Errno> {
    const O_NONBLOCK: i32 = 0o4000;
    rustix::system::delete_module(name, O_NONBLOCK)
}

/// Where the code of a module is that is loaded: from its first address to the one after its last.
pub fn code(name: &str) -> Result<Range<u64>> {
    let modules = fs::read_to_string("/proc/modules")?;
    let mut lines = modules.lines().map(|l| l.split(' '));
    let start = lines.find_map(|mut l| (l.next() == Some(name)).then(|| l.nth(4))?);
    let start = start.with_context(|| format!("{name} is not loaded"))?;
    let start = u64::from_str_radix(start.trim_start_matches("0x"), 16)?;
    let size: u64 = fs::read_to_string(format!("/sys/module/{name}/coresize"))?
        .trim()
        .parse()?;
    ensure!(start > 0, "the kernel does not tell where {name} is");
    Ok(start..start + size)
}

/// Loads a module of the kernel's own with its dependencies, as `modprobe`.
pub fn modprobe(name: &str, parameters: &[String]) -> Result<()> {
    let mut args = vec![name];
    args.extend(parameters.iter().map(String::as_str));
    crate::process::run("modprobe", &args).map(drop)
}

/// Unloads a module of the kernel's own, as `rmmod`.
pub fn rmmod(name: &str) -> Result<()> {
    crate::process::run("rmmod", &[name]).map(drop)
}
