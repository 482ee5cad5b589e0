// SPDX-License-Identifier: GPL-2.0

//! ioctls on the mapped device: passed through when it is all of one lower
//! device, answered or refused otherwise.

use super::loop_of;
use crate::case::{case, Case, Ctx};
use crate::disk::{Disk, Mode};
use crate::dm::outcome;
use crate::sys::{self, Ioctl};
use crate::twin::{Kind, Side, Target};
use anyhow::{anyhow, Result};
use rustix::thread::{capabilities, set_capabilities, CapabilitySet};
use std::fs::File;

const KINDS: &[(&str, Kind)] = &[
    ("ram", Kind::Ram),
    ("loop", loop_of(4096)),
    ("null", Kind::Null(&[("blocksize", 1024)])),
    ("scsi", Kind::Scsi(&[])),
    (
        "scsi_4096",
        Kind::Scsi(&["sector_size=4096", "physblk_exp=1", "lowest_aligned=1"]),
    ),
    ("virtio", Kind::Virtio),
];

/// Ioctls of which the answer is compared.
const ANSWERED: &[Ioctl] = &[
    sys::BLKROGET,
    sys::BLKGETSIZE,
    sys::BLKGETSIZE64,
    sys::BLKRAGET,
    sys::BLKSECTGET,
    sys::BLKSSZGET,
    sys::BLKBSZGET,
    sys::BLKIOMIN,
    sys::BLKIOOPT,
    sys::BLKALIGNOFF,
    sys::BLKPBSZGET,
    sys::BLKDISCARDZEROES,
    sys::BLKROTATIONAL,
    sys::BLKGETZONESZ,
    sys::BLKGETNRZONES,
    sys::HDIO_GETGEO,
    sys::HDIO_GET_32BIT,
    sys::SG_GET_VERSION_NUM,
    sys::CDROM_GET_CAPABILITY,
];

/// Ioctls whose answer differs from device to device.
const TRIED: &[Ioctl] = &[
    sys::LOOP_GET_STATUS64,
    sys::SCSI_IOCTL_GET_IDLUN,
    sys::SCSI_IOCTL_GET_BUS_NUMBER,
    sys::BLKFLSBUF,
    sys::IOC_PR_REGISTER,
    sys::IOC_PR_RESERVE,
    sys::IOC_PR_CLEAR,
];

pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let each = |&(name, kind): &(&str, Kind)| {
        case(format!("{}::ioctls::{name}", target.name), move |ctx| {
            equal(ctx, target, kind)
        })
    };
    let mut cases: Vec<_> = super::kinds(target, KINDS).iter().map(each).collect();
    cases.push(case(
        format!("{}::ioctls::set_read_only", target.name),
        move |ctx| set_read_only(ctx, target),
    ));
    cases
}

fn equal(ctx: &Ctx, target: &'static Target, kind: Kind) -> Result<()> {
    target.compare(ctx, |side| {
        side.each_shape(target, kind, |shape, lowers| {
            let device = side.device(&(shape.table)(&side.target, lowers))?;
            for mode in [Mode::Direct, Mode::ReadOnly] {
                let disk = Disk::open(&device.path(), mode)?;
                let key = format!("{} {mode:?}", shape.name);
                note_all(side, &key, results(disk.file()));
                let unprivileged = without_raw_io(|| results(disk.file()))?;
                note_all(side, &format!("{key} unprivileged"), unprivileged);
            }
            Ok(())
        })?;
        // The kernel limits the rate of this one, so it cannot be compared.
        ctx.take_log("sending ioctl .* to DM device without required privilege")?;
        side.note_log("log", "^device-mapper: ")
    })
}

fn note_all(side: &Side, key: &str, results: Vec<(String, String)>) {
    for (name, value) in results {
        side.note(format!("{key} {name}"), value);
    }
}

fn results(file: &File) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    for ioctl in ANSWERED {
        seen.push((ioctl.name.to_owned(), outcome(ioctl.read(file))));
    }
    for ioctl in TRIED {
        seen.push((ioctl.name.to_owned(), outcome(ioctl.read(file).map(drop))));
    }
    // INQUIRY, and READ CAPACITY (10).
    let inquiry = sys::scsi_read_command(file, &[0x12, 0, 0, 0, 96, 0], 96);
    seen.push(("SG_IO inquiry".into(), outcome(inquiry)));
    let capacity = sys::scsi_read_command(file, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    seen.push(("SG_IO read capacity".into(), outcome(capacity)));
    seen
}

/// Runs something on a thread that lacks `CAP_SYS_RAWIO`.
fn without_raw_io<T: Send>(run: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = capabilities(None)?;
            for set in [
                &mut sets.effective,
                &mut sets.permitted,
                &mut sets.inheritable,
            ] {
                set.remove(CapabilitySet::SYS_RAWIO);
            }
            set_capabilities(None, sets)?;
            Ok(run())
        });
        thread.join().map_err(|_| anyhow!("the thread panicked"))?
    })
}

fn set_read_only(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        for shape in target.shapes {
            let lowers = side.lowers(Kind::Ram, shape)?;
            let device = side.device(&(shape.table)(&side.target, &lowers))?;
            let disk = Disk::open(&device.path(), Mode::Direct)?;
            for value in [1_i32, 0] {
                let set = sys::BLKROSET.call(disk.file(), &mut value.to_ne_bytes());
                side.note(format!("{} set {value}", shape.name), outcome(set));
                side.note("get", outcome(sys::BLKROGET.read(disk.file())));
                side.note("write", outcome(disk.write(0, &[1; 4096])));
                side.note(
                    "open",
                    outcome(Disk::open(&device.path(), Mode::Direct).map(drop)),
                );
                for lower in &lowers {
                    side.note("lower", crate::sysfs::file(&lower.kernel_name(), "ro")?);
                }
            }
        }
        Ok(())
    })
}
