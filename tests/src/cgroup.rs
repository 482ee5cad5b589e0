// SPDX-License-Identifier: GPL-2.0

//! Control groups: what they account for, and what they limit.

use crate::cleanup;
use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// A cgroup of its own, which this process is in until it is dropped.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes the group, with a controller such as `io` or `memory`, and enters it.
    ///
    /// # Errors
    /// If there is a group of that name, or the kernel is without the controller.
    pub fn enter(name: &str, controller: &str) -> Result<Cgroup> {
        match mount("cgroup2", ROOT, "cgroup2", MountFlags::empty(), None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(e) => return Err(e).context("cannot mount cgroup2"),
        }
        let all = Path::new(ROOT).join("cgroup.subtree_control");
        write(&all, &format!("+{controller}"))?;
        let dir = Path::new(ROOT).join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let group = Cgroup(dir);
        group.set("cgroup.procs", "0")?;
        Ok(group)
    }

    /// What a file of the group says.
    pub fn get(&self, file: &str) -> Result<String> {
        let path = self.0.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Writes to a file of the group.
    pub fn set(&self, file: &str, text: &str) -> Result<()> {
        write(&self.0.join(file), text)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let gone = fs::write(Path::new(ROOT).join("cgroup.procs"), "0");
        if let Err(e) = gone.and_then(|()| fs::remove_dir(&self.0)) {
            cleanup::left_behind(self.0.display().to_string(), e);
        }
    }
}
