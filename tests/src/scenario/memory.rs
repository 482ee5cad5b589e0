// SPDX-License-Identifier: GPL-2.0

//! What memory is asked for while I/O is done: none that the kernel would do other I/O for. That could
//! be I/O of the same device, which would wait for itself: swap on it, or its file system's pages.

use crate::case::{case, Case, Ctx};
use crate::disk::{pattern, Disk, Mode};
use crate::dm::{Line, MappedDevice};
use crate::trace::Allocations;
use crate::twin::{Kind, Target};
use anyhow::{ensure, Context, Result};

/// For a target that keeps what is written.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = format!("{}::memory::starts_no_io", target.name);
    vec![case(name, move |ctx| each_shape(ctx, target))]
}

fn each_shape(ctx: &Ctx, target: &'static Target) -> Result<()> {
    let name = ctx.env.target(target.name);
    for shape in target.shapes {
        let lowers = (0..shape.lowers)
            .map(|_| Kind::Ram.make())
            .collect::<Result<Vec<_>>>()?;
        starts_no_io(&(shape.table)(&name, &lowers)).context(shape.name)?;
    }
    Ok(())
}

/// A device with this table, all of whose targets are ours, asks for no such memory during I/O.
pub fn starts_no_io(table: &[Line]) -> Result<()> {
    let trace = Allocations::start("dm_rust")?;
    let device = MappedDevice::create(table)?;
    // A constructor may, and does: so what is looked for can be seen.
    ensure!(
        !trace.take()?.is_empty(),
        "what the constructor asked for was not seen"
    );
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    for (sector, count) in [(0, 8), (8, 1024), (1032, 8), (1040, 2048)] {
        disk.write(sector, &pattern(1, sector, count))?;
        disk.expect_pattern(sector, 1, sector, count)?;
    }
    disk.sync()?;
    let seen = trace.take()?;
    ensure!(seen.is_empty(), "asked for during I/O: {seen:#?}");
    Ok(())
}
