// SPDX-License-Identifier: GPL-2.0

//! Crash consistency: what was flushed stays, whenever the power goes. `log-writes` below the target
//! records what reaches the disk, and when it is flushed; the record is played to each such point,
//! and the file system above is looked at there.

use super::MIB;
use crate::case::{case, Case, Ctx};
use crate::disk::{Disk, Mode};
use crate::dm::{line, MappedDevice};
use crate::fs::{self, Mounted};
use crate::lower::{self, Loop, Lower};
use crate::process;
use crate::twin::{Shape, Target};
use crate::SECTOR;
use anyhow::{ensure, Context, Result};
use memmap2::MmapMut;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// For a target that keeps what is written.
pub(super) fn cases(target: &'static Target) -> Vec<Case> {
    let name = format!("{}::crash::log_writes", target.name);
    vec![case(name, move |ctx| log_writes(ctx, target)).limit(1800)]
}

/// Sectors below each lower device of a table.
const LOWER: u64 = 32 * MIB;

/// Sectors of the log.
const LOG: u64 = 160 * MIB;

/// Files that are written and flushed.
const FILES: u64 = 12;

/// So many shapes are tried, of those on one device, unless time does not matter.
const SHAPES: usize = 2;

/// Of so many points at which something was flushed one is looked at, unless time does not matter.
const EACH: usize = 8;

fn log_writes(ctx: &Ctx, target: &'static Target) -> Result<()> {
    // With one device a flush may come with its data, with several it comes before them.
    let few = target.shapes.iter().filter(|s| s.lowers == 1).take(SHAPES);
    let shapes: Vec<_> = match ctx.env.long {
        true => target.shapes.iter().collect(),
        false => few.collect(),
    };
    for shape in shapes {
        let each = if ctx.env.long { 1 } else { EACH };
        let points = play(ctx, target, shape, each).with_context(|| shape.name)?;
        println!("\n  {}: {points} points looked at", shape.name);
    }
    Ok(())
}

fn file(sectors: u64) -> Result<Lower> {
    lower::file(Loop {
        sectors,
        block: 512,
        read_only: false,
    })
}

/// The target over parts of one device.
struct Stack {
    device: MappedDevice,
    _parts: Vec<(Lower, MappedDevice)>,
}

impl Stack {
    fn new(ctx: &Ctx, target: &Target, shape: &Shape, node: &Path) -> Result<Stack> {
        let part = |i: usize| -> Result<(Lower, MappedDevice)> {
            let params = format!("{} {}", node.display(), i as u64 * LOWER);
            let part = MappedDevice::create(&[line(0, LOWER, "linear", params)])?;
            Ok((Lower::borrowed(&part.path())?, part))
        };
        let parts: Vec<_> = (0..shape.lowers).map(part).collect::<Result<_>>()?;
        let lowers: Vec<_> = parts
            .iter()
            .map(|(_, part)| Lower::borrowed(&part.path()))
            .collect::<Result<_>>()?;
        let device = MappedDevice::create(&(shape.table)(&ctx.env.target(target.name), &lowers))?;
        Ok(Stack {
            device,
            _parts: parts,
        })
    }
}

/// What a file holds: no file what another does.
fn contents(file: u64) -> Vec<u8> {
    let mut contents = vec![0; 2000 + (file as usize * 7919) % 30_000];
    fastrand::Rng::with_seed(file).fill(&mut contents);
    contents
}

/// Records a load, plays it back, and returns at how many points it was looked at.
fn play(ctx: &Ctx, target: &Target, shape: &Shape, each: usize) -> Result<usize> {
    let (data, log) = (file(LOWER * shape.lowers as u64)?, file(LOG)?);
    {
        let params = format!("{} {}", data.node(), log.node());
        let logged = MappedDevice::create(&[line(0, data.sectors(), "log-writes", params)])?;
        let stack = Stack::new(ctx, target, shape, &logged.path())?;
        fs::make(&stack.device.path(), "ext4")?;
        logged.message(0, "mark made")?;
        let mounted = Mounted::new(&stack.device.path(), "ext4", "")?;
        for number in 0..FILES {
            let mut file = File::create(mounted.path().join(number.to_string()))?;
            file.write_all(&contents(number))?;
            file.sync_all()?;
            // The name is only there when that is flushed.
            File::open(mounted.path())?.sync_all()?;
            logged.message(0, &format!("mark {number}"))?;
            // Something that is not flushed, too.
            File::create(mounted.path().join("other"))?.write_all(&contents(number + 1000))?;
        }
    }
    let played = file(data.sectors())?;
    let mut image = MmapMut::map_anon((data.sectors() * SECTOR) as usize)?;
    let (mut made, mut flushed, mut points, mut looked) = (false, BTreeSet::new(), 0, 0);
    for entry in Log::open(&log)? {
        let entry = entry?;
        let at = (entry.sector * SECTOR) as usize;
        match entry.mark {
            Some(mark) if mark == "made" => made = true,
            // The target has one of its own for the end.
            Some(mark) => flushed.extend(mark.parse::<u64>()),
            None if entry.flags & DISCARD != 0 => {
                image[at..at + (entry.sectors * SECTOR) as usize].fill(0);
            }
            // A flush alone is at no place, whatever sector it has.
            None if entry.data.is_empty() => {}
            None => image[at..at + entry.data.len()].copy_from_slice(&entry.data),
        }
        if !made || entry.flags & (FLUSH | FUA) == 0 {
            continue;
        }
        points += 1;
        if points % each != 0 {
            continue;
        }
        looked += 1;
        let disk = played.open()?;
        for (sector, part) in (0..)
            .step_by(2048)
            .zip(image.chunks(2048 * SECTOR as usize))
        {
            disk.write(sector, part)?;
        }
        drop(disk);
        let stack = Stack::new(ctx, target, shape, played.path())?;
        look(&stack.device, &flushed).with_context(|| {
            let last = flushed.last();
            format!("with the power gone at flush {points}, after that of file {last:?}")
        })?;
    }
    ensure!(
        flushed.len() as u64 == FILES && points > FILES as usize,
        "{points} flushes, {} files",
        flushed.len()
    );
    Ok(looked)
}

/// The file system recovers, is sound, and has the files.
fn look(device: &MappedDevice, flushed: &BTreeSet<u64>) -> Result<()> {
    let recovered = process::output("e2fsck", &["-p", &device.path().to_string_lossy()])?;
    ensure!(
        matches!(recovered.status.code(), Some(0 | 1)),
        "e2fsck cannot recover it: {recovered:?}"
    );
    fs::check(&device.path(), "ext4")?;
    let mounted = Mounted::new(&device.path(), "ext4", "")?;
    for number in flushed {
        let found = std::fs::read(mounted.path().join(number.to_string()))?;
        ensure!(found == contents(*number), "file {number} is another one");
    }
    Ok(())
}

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

/// An entry of the log: `struct log_write_entry`, and what was written.
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    data: Vec<u8>,
    mark: Option<String>,
}

/// Reads what `log-writes` logged on a device with sectors of 512 bytes.
struct Log {
    disk: Disk,
    next: u64,
    left: u64,
}

fn number(bytes: &[u8], index: usize) -> u64 {
    let bytes = bytes[index * 8..][..8].try_into();
    u64::from_le_bytes(bytes.expect("eight bytes"))
}

impl Log {
    fn open(log: &Lower) -> Result<Log> {
        let disk = Disk::open(log.path(), Mode::Direct)?;
        let first = disk.read(0, 1)?;
        ensure!(number(&first, 0) == 0x006a_7366_7773_6872, "it is no log");
        ensure!(number(&first, 3) as u32 == 512, "other sectors");
        Ok(Log {
            disk,
            next: 1,
            left: number(&first, 2),
        })
    }

    fn entry(&mut self) -> Result<Entry> {
        let head = self.disk.read(self.next, 1)?;
        let [sector, sectors, flags, len] = [0, 1, 2, 3].map(|i| number(&head, i));
        self.next += 1;
        let mark = (flags & MARK != 0).then(|| {
            let text = &head[32..][..len as usize];
            String::from_utf8_lossy(text).into_owned()
        });
        let mut data = Vec::new();
        if flags & DISCARD == 0 && sectors > 0 {
            data = self.disk.read(self.next, sectors)?;
            self.next += sectors;
        }
        Ok(Entry {
            sector,
            sectors,
            flags,
            data,
            mark,
        })
    }
}

impl Iterator for Log {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Result<Entry>> {
        self.left = self.left.checked_sub(1)?;
        Some(self.entry())
    }
}
