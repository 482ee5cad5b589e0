// SPDX-License-Identifier: GPL-2.0

//! Whose I/O it is: what a cgroup's tasks do to a mapped device is put down to the cgroup on the
//! device below, too.

use crate::case::{case, Case, Ctx};
use crate::cleanup;
use crate::disk::{pattern, Disk, Mode};
use crate::twin::{Kind, Target};
use crate::SECTOR;
use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use rustix::mount::{mount, MountFlags};
use std::fs;
use std::path::{Path, PathBuf};

/// For a target that keeps what is written.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = format!("{}::cgroup::io_is_put_down_to_the_task", target.name);
    vec![case(name, move |ctx| accounting(ctx, target))]
}

const ROOT: &str = "/sys/fs/cgroup";

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {text} to {}", path.display()))
}

/// A cgroup of its own, which this process is in until it is dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    fn enter(name: &str) -> Result<Cgroup> {
        match mount("cgroup2", ROOT, "cgroup2", MountFlags::empty(), None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(e) => return Err(e).context("cannot mount cgroup2"),
        }
        write(&Path::new(ROOT).join("cgroup.subtree_control"), "+io")?;
        let dir = Path::new(ROOT).join(name);
        fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let group = Cgroup(dir);
        write(&group.0.join("cgroup.procs"), "0")?;
        Ok(group)
    }

    /// What of `io.stat` is about a device.
    fn io(&self, devno: &str) -> Result<String> {
        let stat = fs::read_to_string(self.0.join("io.stat"))?;
        let line = stat
            .lines()
            .find_map(|l| l.strip_prefix(&format!("{devno} ")));
        Ok(line.unwrap_or("nothing").to_owned())
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

fn accounting(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            // Not the group's: done outside of it.
            disk.write(0, &pattern(1, 0, 64))?;
            let group = Cgroup::enter("dmr-test")?;
            disk.write(256, &pattern(2, 256, 64))?;
            disk.read(256, 16)?;
            disk.read(0, 8)?;
            for (i, lower) in lowers.iter().enumerate() {
                side.note(
                    format!("{} below {i}", shape.name),
                    group.io(lower.devno())?,
                );
            }
            side.note(format!("{} above", shape.name), group.io(&device.devno())?);
            let mut written = 0;
            for lower in lowers {
                let io = group.io(lower.devno())?;
                let mut words = io.split_ascii_whitespace();
                let bytes = words.find_map(|word| word.strip_prefix("wbytes="));
                written += bytes.unwrap_or("0").parse::<u64>()?;
            }
            ensure!(
                written == 64 * SECTOR,
                "{written} bytes arrived as the group's, not the {} that it wrote",
                64 * SECTOR
            );
            Ok(())
        })
    })
}
