// SPDX-License-Identifier: GPL-2.0

//! Whose I/O it is: what a cgroup's tasks do to a mapped device is put down to the cgroup on the
//! device below, too.

use crate::case::{case, Case, Ctx};
use crate::cgroup::Cgroup;
use crate::disk::{pattern, Disk, Mode};
use crate::twin::{Kind, Target};
use crate::SECTOR;
use anyhow::{ensure, Result};

/// For a target that keeps what is written.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = format!("{}::cgroup::io_is_put_down_to_the_task", target.name);
    vec![case(name, move |ctx| accounting(ctx, target))]
}

/// What of a group's `io.stat` is about a device.
fn io(group: &Cgroup, devno: &str) -> Result<String> {
    let stat = group.get("io.stat")?;
    let line = stat
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{devno} ")));
    Ok(line.unwrap_or("nothing").to_owned())
}

fn accounting(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, Kind::Ram, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            // Not the group's: done outside of it.
            disk.write(0, &pattern(1, 0, 64))?;
            let group = Cgroup::enter("dmr-test", "io")?;
            disk.write(256, &pattern(2, 256, 64))?;
            disk.read(256, 16)?;
            disk.read(0, 8)?;
            for (i, lower) in lowers.iter().enumerate() {
                side.note(
                    format!("{} below {i}", shape.name),
                    io(&group, lower.devno())?,
                );
            }
            side.note(
                format!("{} above", shape.name),
                io(&group, &device.devno())?,
            );
            let mut written = 0;
            for lower in lowers {
                let stat = io(&group, lower.devno())?;
                let mut words = stat.split_ascii_whitespace();
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
