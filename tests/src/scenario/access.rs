// SPDX-License-Identifier: GPL-2.0

//! Read-only tables, who may open and remove a device, and where it ends.

use super::MIB;
use crate::case::{case, Case, Ctx};
use crate::disk::{pattern, Disk, Mode};
use crate::dm::{outcome, Suspend};
use crate::sys::{BLKDISCARD, BLKROGET, BLKZEROOUT};
use crate::twin::{Kind, Shape, Side, Target};
use crate::{sysfs, SECTOR};
use anyhow::Result;
use rustix::io::ReadWriteFlags;
use std::os::unix::fs::FileExt;

/// For any target.
pub fn cases(target: &'static Target) -> Vec<Case> {
    type Scenario = fn(&Side, &Shape) -> Result<()>;
    let tests: [(&str, Scenario); 4] = [
        ("read_only", read_only),
        ("openers", openers),
        ("end", end),
        ("nowait_while_suspended", nowait_while_suspended),
    ];
    let each = |(name, scenario): (&str, Scenario)| {
        case(format!("{}::access::{name}", target.name), move |ctx| {
            for_each_shape(ctx, target, scenario)
        })
    };
    tests.into_iter().map(each).collect()
}

fn for_each_shape(
    ctx: &Ctx,
    target: &'static Target,
    scenario: fn(&Side, &Shape) -> Result<()>,
) -> Result<()> {
    target.compare(ctx, |side| {
        target.shapes.iter().try_for_each(|shape| {
            side.note("shape", shape.name);
            scenario(side, shape)
        })
    })
}

/// A read-only table, then the same one again for writing, and back.
fn read_only(side: &Side, shape: &Shape) -> Result<()> {
    let lowers = side.lowers(Kind::Ram, shape)?;
    let table = (shape.table)(&side.target, &lowers);
    let device = side.empty_device()?;
    for writable in [false, true, false] {
        let key = if writable { "read-write" } else { "read-only" };
        let loaded = match writable {
            true => device.load(&table),
            false => device.load_read_only(&table),
        };
        side.note(format!("{key} load"), outcome(loaded));
        side.note(format!("{key} inactive"), device.info()?.flags);
        device.resume()?;
        side.note(format!("{key} live"), device.info()?.flags);
        let ro = sysfs::file(&device.kernel_name(), "ro")?;
        side.note(format!("{key} ro"), ro);
        let open = Disk::open(&device.path(), Mode::Direct);
        let note = |what: &str, seen: String| side.note(format!("{key} {what}"), seen);
        match open {
            Ok(disk) => {
                note("write", outcome(disk.write(8, &pattern(1, 0, 8))));
                note("discard", outcome(BLKDISCARD.range(disk.file(), 0, 4096)));
                note("zero", outcome(BLKZEROOUT.range(disk.file(), 0, 4096)));
                note("flush", outcome(disk.sync()));
            }
            Err(e) => note("open for writing", crate::dm::errno_name(&e)),
        }
        let disk = Disk::open(&device.path(), Mode::ReadOnly)?;
        note("BLKROGET", outcome(BLKROGET.number(disk.file())));
        note(
            "read",
            outcome(disk.read(8, 8).map(|d| d == pattern(1, 0, 8))),
        );
        // A writer that is there before the table turns read-only.
        if writable {
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            device.load_read_only(&table)?;
            device.suspend(Suspend::Flush)?;
            device.resume()?;
            note(
                "write when it turned",
                outcome(disk.write(8, &pattern(2, 0, 8))),
            );
        }
    }
    Ok(())
}

fn openers(side: &Side, shape: &Shape) -> Result<()> {
    let lowers = side.lowers(Kind::Ram, shape)?;
    let device = side.device(&(shape.table)(&side.target, &lowers))?;
    let open = |mode| Disk::open(&device.path(), mode);
    let disks = [Mode::Direct, Mode::ReadOnly, Mode::Buffered].map(open);
    side.note("open", device.info()?.open_count);
    let exclusive = open(Mode::Exclusive);
    side.note("exclusive", outcome(open(Mode::Exclusive).map(drop)));
    side.note("removal", outcome(device.remove()));
    drop(exclusive);
    drop(disks);
    side.note("closed", device.info()?.open_count);
    for lower in &lowers {
        let lower = Disk::open(lower.path(), Mode::Exclusive);
        side.note("lower, exclusive", outcome(lower.map(drop)));
    }
    Ok(())
}

/// Reads and writes at the end and beyond, whole and in part.
fn end(side: &Side, shape: &Shape) -> Result<()> {
    let lowers = side.lowers(Kind::Ram, shape)?;
    let table = (shape.table)(&side.target, &lowers);
    let device = side.device(&table)?;
    let end = table.last().map_or(0, |l| l.start + l.len);
    for mode in [Mode::Direct, Mode::Buffered] {
        let disk = Disk::open(&device.path(), mode)?;
        side.note("sectors", disk.sectors()?);
        let flags = ReadWriteFlags::empty();
        for (sector, count) in [
            (end - 1, 1),
            (end - 1, 2),
            (end - 1, 2 * MIB),
            (end, 1),
            (end + 8, 1),
        ] {
            let key = format!("{mode:?} {sector}+{count}");
            let read = disk.read_with(sector, count, flags);
            side.note(format!("read {key}"), outcome(read));
            let write = disk.write_with(sector, &pattern(3, 0, count), flags);
            side.note(format!("write {key}"), outcome(write));
            side.note(format!("sync {key}"), outcome(disk.sync()));
        }
        // Less than a sector, which the page cache alone can do.
        let mut some = [0; 100];
        let read = disk.file().read_at(&mut some, end * SECTOR - 40);
        side.note(format!("{mode:?} bytes"), outcome(read));
        side.note(format!("{mode:?} contents"), format!("{some:?}"));
    }
    Ok(())
}

/// Who does not want to wait is told that it would have to.
fn nowait_while_suspended(side: &Side, shape: &Shape) -> Result<()> {
    let lowers = side.lowers(Kind::Ram, shape)?;
    let device = side.device(&(shape.table)(&side.target, &lowers))?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let flags = ReadWriteFlags::NOWAIT;
    for how in [None, Some(Suspend::Flush), Some(Suspend::NoFlush), None] {
        if let Some(how) = how {
            device.suspend(how)?;
        }
        side.note(
            format!("read {how:?}"),
            outcome(disk.read_with(8, 8, flags)),
        );
        let write = disk.write_with(8, &pattern(4, 0, 8), flags);
        side.note(format!("write {how:?}"), outcome(write));
        device.resume()?;
    }
    Ok(())
}
