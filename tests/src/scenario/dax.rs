// SPDX-License-Identifier: GPL-2.0

//! DAX: file systems whose files are mapped straight from the memory below.

use super::MIB;
use crate::case::{case, Case, Ctx};
use crate::disk::{pattern, Disk, Mode};
use crate::dm::{outcome, MappedDevice, Suspend};
use crate::fs::{self, Mounted};
use crate::lower::Lower;
use crate::twin::{Kind, Shape, Side, Target};
use crate::{process, sys, sysfs, SECTOR};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, statx, AtFlags, FallocateFlags, StatxFlags};
use std::fs::File;
use std::path::Path;

/// `STATX_ATTR_DAX`
const ATTR_DAX: u64 = 0x0020_0000;

/// Sectors that are mapped: more than one huge page.
const COUNT: u64 = 2 * MIB + 64;

/// For a target that can stand on persistent memory.
pub fn cases(target: &'static Target) -> Vec<Case> {
    let name = |name: String| format!("{}::dax::{name}", target.name);
    let mut cases: Vec<_> = target
        .shapes
        .iter()
        .filter(|shape| shape.lowers == 1)
        .map(|shape| {
            case(name(shape.name.into()), move |ctx| {
                mapped(ctx, target, shape, "ext4")
            })
        })
        .collect();
    // XFS needs more room than the other shapes have.
    let whole = &target.shapes[0];
    cases.push(case(name("xfs".into()), move |ctx| {
        mapped(ctx, target, whole, "xfs")
    }));
    cases.push(case(name("mixed".into()), move |ctx| mixed(ctx, target)));
    cases
}

/// Notes what sysfs says of DAX and of the queue.
pub fn note_flags(side: &Side, key: &str, device: &MappedDevice) -> Result<()> {
    let name = device.kernel_name();
    for dir in ["dax", "queue"] {
        // The first is there only for a device that does DAX.
        for (file, value) in sysfs::dir(&name, dir).unwrap_or_default() {
            side.note(format!("{key}: {dir}/{file}"), value);
        }
    }
    Ok(())
}

/// What is written by way of a mapping lands where the twin has it, and what is
/// zeroed is zeroed.
fn mapped(ctx: &Ctx, target: &Target, shape: &Shape, kind: &str) -> Result<()> {
    target.compare(ctx, |side| {
        let lowers = side.lowers(Kind::Pmem, shape)?;
        let device = side.device(&(shape.table)(&side.target, &lowers))?;
        note_flags(side, "live", &device)?;
        // What the other side left must not be taken for ours.
        let seed = if side.ours { 1 } else { 2 };
        make(&device, kind)?;
        let mount = Mounted::new(&device.path(), kind, "dax=always")?;
        side.note_log("log", "DAX")?;
        let path = mount.path().join("file");
        let data = pattern(seed, 0, COUNT);
        let file = write_mapped(&path, &data)?;
        let attributes = statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        ensure!(
            attributes.stx_attributes.bits() & ATTR_DAX != 0,
            "the file is not mapped by DAX: the test shows nothing"
        );
        // Whole pages, parts of pages, and a hole that is then read.
        for (at, len) in [(8192, 8192), (20_000, 100), (40_000, 9000), (1 << 20, 4096)] {
            fallocate(&file, FallocateFlags::ZERO_RANGE, at, len)?;
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, hole, 100_000, 50_000)?;
        file.sync_all()?;
        drop(file);
        let seen = runs(&std::fs::read(&path)?, seed);
        side.note("in the file", format!("{seen:?}"));
        let below = placed(&lowers[0], seed, total(&seen))?;
        side.note("on the lower device", format!("{below:?}"));
        drop(mount);
        check(&device, kind)?;
        // The same by way of the page cache.
        let mount = Mounted::new(&device.path(), kind, "dax=never")?;
        let seen = runs(&std::fs::read(mount.path().join("file"))?, seed);
        side.note("in the file without DAX", format!("{seen:?}"));
        Ok(())
    })
}

/// A file system whose blocks lie the same way each time.
fn make(device: &MappedDevice, kind: &str) -> Result<()> {
    let node = device.path();
    let uuid = "0b7a6f6e-4c7e-4c39-8f4a-5a0d6b3b0a11";
    let options = format!("lazy_itable_init=0,lazy_journal_init=0,hash_seed={uuid}");
    let node = node.to_string_lossy();
    if kind == "xfs" {
        // Told that it is being tested it takes devices of less than 300 MiB.
        let tested = ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|v| format!("{v}=yes"));
        let [a, b, c] = tested.each_ref().map(String::as_str);
        let uuid = format!("uuid={uuid}");
        let args = [a, b, c, "mkfs.xfs", "-q", "-f", "-m", &uuid, &node];
        return process::run("env", &args).map(drop);
    }
    let args = ["-q", "-F", "-b", "4096", "-U", uuid, "-E", &options, &node];
    process::run("mkfs.ext4", &args).map(drop)
}

fn check(device: &MappedDevice, kind: &str) -> Result<()> {
    match kind {
        "ext4" => fs::check(&device.path(), "ext4"),
        _ => process::run("xfs_repair", &["-n", &device.path().to_string_lossy()]).map(drop),
    }
}

fn write_mapped(path: &Path, data: &[u8]) -> Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    file.set_len(data.len() as u64)?;
    let mut memory = sys::map_shared(&file, data.len()).context("cannot map the file")?;
    memory.copy_from_slice(data);
    memory.flush()?;
    Ok(file)
}

/// Sectors of the pattern: the first sector here, the first of the pattern, how many.
type Run = (u64, u64, u64);

fn runs(data: &[u8], seed: u64) -> Vec<Run> {
    let mut found: Vec<Run> = Vec::new();
    for (at, sector) in (0..).zip(data.chunks_exact(SECTOR as usize)) {
        let word = |i: usize| u64::from_le_bytes(sector[i * 8..][..8].try_into().expect("eight"));
        let which = word(1);
        if word(0) != seed || which >= COUNT || *sector != pattern(seed, which, 1) {
            continue;
        }
        match found.last_mut() {
            Some((a, w, n)) if *a + *n == at && *w + *n == which => *n += 1,
            _ => found.push((at, which, 1)),
        }
    }
    found
}

fn total(runs: &[Run]) -> u64 {
    runs.iter().map(|(_, _, count)| count).sum()
}

/// Where on the lower device `count` sectors of the pattern are; blocks that the
/// file has given up may be among them.
fn placed(lower: &Lower, seed: u64, count: u64) -> Result<Vec<Run>> {
    let disk = lower.open()?;
    let mut found = Vec::new();
    for start in (0..lower.sectors()).step_by(MIB as usize) {
        let data = disk.read(start, MIB.min(lower.sectors() - start))?;
        let here = runs(&data, seed);
        found.extend(
            here.into_iter()
                .map(|(at, which, n)| (start + at, which, n)),
        );
        if total(&found) >= count {
            break;
        }
    }
    ensure!(
        count > 0 && total(&found) >= count,
        "{count} sectors are in the file, and on the lower device {found:?}"
    );
    Ok(found)
}

/// Only where all devices below do DAX the mapped one does.
fn mixed(ctx: &Ctx, target: &'static Target) -> Result<()> {
    target.compare(ctx, |side| {
        for (key, second) in [
            ("with a RAM disk", Kind::Ram),
            ("with virtio", Kind::Virtio),
        ] {
            let lowers = [side.lower(Kind::Pmem, 0)?, side.lower(second, 1)?];
            let device = side.empty_device()?;
            for (step, range) in [("both", 0..2), ("pmem", 0..1), ("both again", 0..2)] {
                let lowers = &lowers[range];
                let shape = target.shapes.iter().find(|s| s.lowers == lowers.len());
                let shape = shape.context("no shape for one and for two lower devices")?;
                let table = (shape.table)(&side.target, lowers);
                let key = format!("{key} {step}");
                side.note(&key, outcome(device.swap(&table, Suspend::Flush)));
                side.note_log(&format!("{key} log"), "^device-mapper: ")?;
                note_flags(side, &key, &device)?;
                let disk = Disk::open(&device.path(), Mode::Direct)?;
                disk.write(8, &pattern(3, 0, 64))?;
                disk.expect_pattern(8, 3, 0, 64)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_pattern_are_found() {
        let mut data = vec![0; 2 * SECTOR as usize];
        data.extend(pattern(1, 10, 3));
        data.extend(pattern(1, 20, 2));
        data.extend(pattern(2, 22, 1));
        assert_eq!(runs(&data, 1), [(2, 10, 3), (5, 20, 2)]);
        data[3 * SECTOR as usize + 100] ^= 1;
        assert_eq!(runs(&data, 1), [(2, 10, 1), (4, 12, 1), (5, 20, 2)]);
    }
}
