// SPDX-License-Identifier: GPL-2.0

//! Every kind of request, as it comes out below: its flags, its sectors, how it
//! was split, and what it did.

use super::{loop_of, MIB};
use crate::case::{case, Case, Ctx};
use crate::disk::{digest, pattern, Disk, Mode};
use crate::dm::{outcome, Line};
use crate::lower::Lower;
use crate::sys::{Ioctl, BLKDISCARD, BLKSECDISCARD, BLKZEROOUT};
use crate::trace::{self, Order, Trace};
use crate::twin::{Kind, Shape, Side, Target};
use crate::{fio, sys, sysfs, SECTOR};
use anyhow::{anyhow, ensure, Result};
use rustix::io::ReadWriteFlags;
use std::io;

const KINDS: &[(&str, Kind)] = &[
    ("ram", Kind::Ram),
    ("loop_4096", loop_of(4096)),
    (
        "null_discard",
        Kind::Null(&[("memory_backed", 1), ("discard", 1), ("max_sectors", 256)]),
    ),
    (
        "null_cache",
        Kind::Null(&[("memory_backed", 1), ("cache_size", 16)]),
    ),
    (
        "null_cache_no_fua",
        Kind::Null(&[("memory_backed", 1), ("cache_size", 16), ("fua", 0)]),
    ),
    (
        "scsi_unmap",
        Kind::Scsi(&[
            "lbpu=1",
            "lbpws=1",
            "unmap_max_blocks=4096",
            "write_same_length=1024",
        ]),
    ),
    (
        "scsi_atomic",
        Kind::Scsi(&["atomic_wr=1", "sector_size=4096"]),
    ),
    ("virtio", Kind::Virtio),
    ("pmem", Kind::Pmem),
];

/// `RWF_ATOMIC`, which rustix does not name.
const ATOMIC: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x40);

pub(super) fn cases(target: &'static Target, order: Order) -> Vec<Case> {
    let each = |&(name, kind): &(&str, Kind)| {
        case(format!("{}::bios::{name}", target.name), move |ctx| {
            pass(ctx, target, kind, order)
        })
    };
    super::kinds(target, KINDS).iter().map(each).collect()
}

/// What needs a target that keeps what is written.
pub(super) fn data_cases(target: &'static Target) -> Vec<Case> {
    let name = |name: &str| format!("{}::bios::{name}", target.name);
    vec![
        case(name("ioprio"), move |ctx| priorities(ctx, target)),
        case(name("polled"), move |ctx| polled(ctx, target)),
        case(name("lower_errors"), move |ctx| errors(ctx, target)),
    ]
}

/// What is done to the mapped device: each step's name and itself.
type Step = (String, Box<dyn Fn(&Disk) -> io::Result<String>>);

fn step<T: std::fmt::Debug>(
    name: impl Into<String>,
    run: impl Fn(&Disk) -> io::Result<T> + 'static,
) -> Step {
    (
        name.into(),
        Box::new(move |disk| run(disk).map(|v| format!("{v:?}"))),
    )
}

fn range(ioctl: Ioctl, sector: u64, count: u64) -> Step {
    step(format!("{} {sector}+{count}", ioctl.name), move |disk| {
        ioctl.range(disk.file(), sector * SECTOR, count * SECTOR)
    })
}

fn write(sector: u64, count: u64, flags: ReadWriteFlags) -> Step {
    step(
        format!("write {sector}+{count} {:#x}", flags.bits()),
        move |disk| disk.write_with(sector, &data(sector, count), flags),
    )
}

fn read(sector: u64, count: u64, flags: ReadWriteFlags) -> Step {
    step(
        format!("read {sector}+{count} {:#x}", flags.bits()),
        move |disk| disk.read_with(sector, count, flags),
    )
}

/// Data of a request; that of large ones repeats, which is faster to make.
fn data(seed: u64, count: u64) -> Vec<u8> {
    const PART: u64 = 64;
    let mut data = pattern(seed, 0, count.min(PART)).repeat(count.div_ceil(PART) as usize);
    data.truncate((count * SECTOR) as usize);
    data
}

/// Sectors between which requests are put: the borders of the table's lines,
/// and the end.
fn steps(table: &[Line]) -> Vec<Step> {
    let none = ReadWriteFlags::empty();
    let end = table.last().map_or(0, |l| l.start + l.len);
    let mut steps = vec![
        write(0, 8, none),
        write(64, 1024, none),
        read(64, 1024, none),
        write(16, 8, ReadWriteFlags::DSYNC),
        write(24, 8, ReadWriteFlags::SYNC),
        write(32, 8, ReadWriteFlags::NOWAIT),
        read(32, 8, ReadWriteFlags::NOWAIT),
        write(128, 16, ATOMIC),
        write(144, 1024, ReadWriteFlags::DSYNC),
        step("fsync", Disk::sync),
        range(BLKDISCARD, 2048, 4096),
        range(BLKDISCARD, 8, 8),
        range(BLKDISCARD, 1, 64),
        range(BLKDISCARD, 4104, 30),
        range(BLKZEROOUT, 1024, 512),
        range(BLKZEROOUT, 3, 5),
        range(BLKSECDISCARD, 0, 2048),
        read(end - 8, 8, none),
        write(end - 8, 8, none),
        read(end - 8, 16, none),
        write(end - 8, 16, none),
        read(end, 8, none),
        write(end, 8, none),
        write(1, 8, none),
        range(BLKDISCARD, end - 8, 16),
        range(BLKZEROOUT, end - 8, 8),
    ];
    for border in table.iter().skip(1).map(|l| l.start) {
        steps.extend([
            write(border - 8, 16, none),
            write(border - 256, 512, ReadWriteFlags::DSYNC),
            write(border - 16, 32, ReadWriteFlags::NOWAIT),
            write(border - 8, 16, ATOMIC),
            read(border - 64, 128, none),
            range(BLKDISCARD, border - 2048, 4096),
            range(BLKZEROOUT, border - 256, 512),
            range(BLKSECDISCARD, border - 512, 1024),
        ]);
    }
    // Over all borders at once.
    steps.push(range(BLKDISCARD, 0, end));
    steps.push(write(end / 2, 8, none));
    steps
}

fn pass(ctx: &Ctx, target: &'static Target, kind: Kind, order: Order) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, kind, |shape, lowers| {
            pass_shape(side, shape, lowers, order)
        })?;
        side.note_log("log", "^device-mapper: ")
    })
}

fn pass_shape(side: &Side, shape: &Shape, lowers: &[Lower], order: Order) -> Result<()> {
    let table = (shape.table)(&side.target, lowers);
    let device = side.device(&table)?;
    let disk = Disk::open(&device.path(), Mode::Direct)?;
    let devno = device.devno();
    let mut traced: Vec<_> = lowers.iter().map(Lower::devno).collect();
    traced.push(&devno);
    let trace = Trace::start(&traced, trace::BIOS)?;
    for (name, run) in steps(&table) {
        trace.mark(&name)?;
        side.note(format!("{} {name}", shape.name), outcome(run(&disk)));
    }
    for (name, events) in trace.stop()? {
        side.note(
            format!("{} {name} below", shape.name),
            trace::summary_in(order, &events),
        );
    }
    for (i, lower) in lowers.iter().enumerate() {
        side.note(
            format!("{} data on lower device {i}", shape.name),
            samples(lower)?,
        );
    }
    Ok(())
}

/// Digests of the lower device around each mebibyte, where the borders are.
fn samples(lower: &Lower) -> Result<String> {
    const AROUND: u64 = 64;
    let disk = lower.open()?;
    let ends = (0..lower.sectors().min(32 * MIB) / MIB).map(|i| (i + 1) * MIB);
    let digests = ends
        .map(|end| {
            digest(
                &disk,
                end - AROUND,
                (2 * AROUND).min(lower.sectors() + AROUND - end),
            )
        })
        .chain([digest(&disk, 0, AROUND)]);
    Ok(format!("{:x?}", digests.collect::<io::Result<Vec<_>>>()?))
}

/// The priority of the submitter reaches the hardware queue.
fn priorities(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(
            target,
            Kind::Null(&[("memory_backed", 1)]),
            |shape, lowers| {
                let device = side.device(&(shape.table)(&side.target, lowers))?;
                let disk = Disk::open(&device.path(), Mode::Direct)?;
                let devices: Vec<_> = lowers.iter().map(Lower::devno).collect();
                let trace = Trace::start(&devices, trace::ISSUED)?;
                for (class, level) in [(1, 0), (1, 7), (2, 3), (3, 0)] {
                    trace.mark(&format!("class {class} level {level}"))?;
                    // A thread of its own: a priority is the thread's for good.
                    let write = || -> io::Result<()> {
                        sys::set_io_priority(class, level)?;
                        disk.write(0, &pattern(1, 0, 8))
                    };
                    let done = std::thread::scope(|scope| scope.spawn(write).join());
                    done.map_err(|_| anyhow!("the thread panicked"))??;
                }
                for (name, events) in trace.stop()? {
                    ensure!(events.len() == 1 || name == "start", "{name}: {events:?}");
                    side.note(format!("{} {name}", shape.name), trace::summary(&events));
                }
                Ok(())
            },
        )
    })
}

/// I/O that is polled for, not interrupted by, completes, and only where it may.
fn polled(ctx: &Ctx, target: &'static Target) -> Result<()> {
    const QUEUES: &[(&str, Kind)] = &[
        (
            "with poll queues",
            Kind::Null(&[("memory_backed", 1), ("poll_queues", 1)]),
        ),
        ("without", Kind::Null(&[("memory_backed", 1)])),
    ];
    const FIO: &[&str] = &[
        "rw=randwrite",
        "bs=4k",
        "size=64k",
        "ioengine=io_uring",
        "hipri=1",
        "iodepth=8",
        "verify=crc32c",
    ];
    target.compare(ctx, |side| {
        for &(name, kind) in QUEUES {
            let shape = &target.shapes[0];
            let lowers = side.lowers(kind, shape)?;
            let device = side.device(&(shape.table)(&side.target, &lowers))?;
            // The driver allocates for what was never written, which it must not where it polls.
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            disk.write(0, &pattern(1, 0, 128))?;
            let polls = sysfs::file(&device.kernel_name(), "queue/io_poll")?;
            side.note(format!("{name} io_poll"), &polls);
            let done = fio::run(&device.path(), FIO).map(|r| (r.read, r.written));
            side.note(
                format!("{name} fio"),
                done.map_or("failed".into(), |d| format!("{d:?}")),
            );
        }
        Ok(())
    })
}

/// An error of the lower device comes up, and only where it is.
fn errors(ctx: &Ctx, target: &'static Target) -> Result<()> {
    // scsi_debug fails reads of the ten sectors from this one on.
    let kind = Kind::Scsi(&["opts=2", "medium_error_start=4660", "medium_error_count=10"]);
    target.compare(ctx, |side| {
        side.each_shape(target, kind, |shape, lowers| {
            let table = (shape.table)(&side.target, lowers);
            let device = side.device(&table)?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            let end = table.last().map_or(0, |l| l.start + l.len);
            let failed: Vec<_> = (0..end.min(20 * MIB) / 1024)
                .filter(|i| disk.read(i * 1024, 1024).is_err())
                .collect();
            side.note(format!("{} failed", shape.name), format!("{failed:?}"));
            for sector in [4656, 4664, 4672] {
                let read = disk.read(sector, 8).map(drop);
                side.note(format!("{} {sector}", shape.name), outcome(read));
            }
            Ok(())
        })
    })
}
