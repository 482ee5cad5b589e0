// SPDX-License-Identifier: GPL-2.0

//! What is done with a plan on one side.

use super::pool::{stamp, Pool};
use anyhow::{bail, Result};
use dm_rust_tests::dm::{line, outcome, table_text, Line, MappedDevice};
use dm_rust_tests::fuzz::{self, Action, Io, Plan, Role, Vanish, POOL};
use dm_rust_tests::kmsg::{judge, Verdict};
use dm_rust_tests::twin::Side;
use dm_rust_tests::{sys, sysfs, SECTOR};
use memmap2::MmapMut;
use rustix::fs::{fallocate, FallocateFlags, OFlags};
use rustix::io::{preadv2, pwritev2, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How many sectors beside what is mapped are compared too.
const MARGIN: u64 = 32;

/// Bytes by which the memory of an operation may be off a page, at most.
const SKEW: usize = 4096;

/// A range of a lower device: its number in the pool, and sectors.
type Range = (usize, u64, u64);

/// What a plan was seen to do, beside what was noted.
#[derive(Default)]
pub struct Seen {
    /// Whether the device took the table.
    pub live: bool,
    /// How many operations were done.
    pub operations: u64,
    /// Data that were read from the mapped device, and those on the lower ones
    /// at the end; with what they are.
    pub data: Vec<(String, Vec<u8>)>,
    /// Where the lower devices were read.
    ranges: Vec<Range>,
}

/// Changes a line of our side, after devices were put in.
pub type Twist = dyn Fn(&mut Line, &Pool);

/// One side: a mapped device that takes table after table, and its lower devices.
pub struct State {
    device: MappedDevice,
    /// The lower devices.
    pub pool: Pool,
    buffer: MmapMut,
    noise: Vec<u8>,
}

impl State {
    /// A side on these devices.
    pub fn new(pool: Pool) -> Result<State> {
        let mut rng = fastrand::Rng::with_seed(1);
        let words = (fuzz::MOST * SECTOR / 8) as usize;
        Ok(State {
            device: MappedDevice::empty()?,
            pool,
            buffer: MmapMut::map_anon(words * 8 + SKEW)?,
            noise: (0..words).flat_map(|_| rng.u64(..).to_le_bytes()).collect(),
        })
    }

    /// Takes another mapped device, which has had no table.
    pub fn renew(&mut self) -> Result<()> {
        self.device = MappedDevice::empty()?;
        Ok(())
    }

    /// Fills the lower devices anew.
    pub fn fill(&self) -> Result<()> {
        self.pool.fill(&self.noise)
    }

    /// A line with this side's devices in it.
    fn render(&self, template: &Line) -> Line {
        let mut line = template.clone();
        let mut put = |form: String, real: &str| {
            if line.params.contains(&form) {
                line.params = line.params.replace(&form, real);
            }
        };
        for (i, below) in self.pool.devices.iter().enumerate() {
            put(format!("{{{i}}}"), &below.node);
            put(format!("{{#{i}}}"), &below.devno);
        }
        put("{dm}".into(), &self.device.path().to_string_lossy());
        put("{#dm}".into(), &self.device.devno());
        line
    }

    /// Does what the plan says, and notes what can be seen. `twin` is what the
    /// in-tree target was seen to do, when ours has its turn.
    pub fn run(
        &mut self,
        side: &Side,
        plan: &Plan,
        twist: &Twist,
        twin: Option<&Seen>,
    ) -> Result<Seen> {
        side.alias(self.device.devno(), "DM");
        side.alias(self.device.kernel_name(), "DM");
        let mut table: Vec<_> = plan.table.iter().map(|l| self.render(l)).collect();
        if side.ours {
            table.iter_mut().for_each(|l| twist(l, &self.pool));
        }
        let mut seen = Seen::default();
        let vanished = self.live(side, plan, &table, &mut seen, twin);
        if plan.vanish.is_some() {
            // Nobody may hold the device when it is put back.
            let parked = self.device.load(&[line(0, 8, "zero", "")]);
            parked.and_then(|()| self.device.resume())?;
            self.pool.plug(true)?;
        }
        vanished?;
        self.log(side)?;
        Ok(seen)
    }

    fn live(
        &mut self,
        side: &Side,
        plan: &Plan,
        table: &[Line],
        seen: &mut Seen,
        twin: Option<&Seen>,
    ) -> Result<()> {
        if plan.vanish == Some(Vanish::BeforeLoad) {
            self.pool.plug(false)?;
        }
        let loaded = match plan.read_only {
            true => self.device.load_read_only(table),
            false => self.device.load(table),
        };
        let taken = loaded.is_ok();
        side.note("load", outcome(loaded));
        self.log(side)?;
        if !taken {
            return Ok(());
        }
        side.note("inactive table", table_text(&self.device.inactive_table()?));
        if plan.vanish == Some(Vanish::BeforeResume) {
            self.pool.plug(false)?;
        }
        let resumed = self.device.resume();
        seen.live = resumed.is_ok();
        side.note("resume", outcome(resumed));
        self.log(side)?;
        if !seen.live {
            // It is left suspended, with the table that it had.
            return Ok(self.device.resume()?);
        }
        if plan.vanish == Some(Vanish::Live) {
            self.pool.plug(false)?;
        }
        self.look(side)?;
        let active = self.device.table()?;
        let ranges = self.ranges(&active);
        seen.ranges = twin.map_or_else(|| ranges.clone().unwrap_or_default(), |t| t.ranges.clone());
        let before = self.device.info()?.event_nr;
        self.operate(side, plan, ranges.is_some(), seen)?;
        let status = table_text(&self.device.status()?);
        // The event of a failed stripe comes a little later.
        let failed = status.contains('D');
        let mut tries = if failed { 200 } else { 1 };
        let mut raised = false;
        while tries > 0 && !raised {
            raised = self.device.info()?.event_nr != before;
            tries -= 1;
            if failed && !raised {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        side.note("status after", status);
        side.note("event", raised);
        for &(device, start, len) in &seen.ranges {
            if let Some(data) = self.pool.devices[device].read(start, len)? {
                let what = format!("device {device}, {len} sectors from {start} on");
                seen.data.push((what, data));
            }
        }
        Ok(())
    }

    /// Notes the kernel log. A report of a bug ends all.
    fn log(&self, side: &Side) -> Result<()> {
        let lines = side.ctx().take_whole_log()?;
        if let Some(bug) = lines.iter().find(|l| judge(l) == Verdict::Fatal) {
            bail!("the kernel reports a bug: {bug}");
        }
        side.note("log", lines.join("\n"));
        Ok(())
    }

    /// Notes what the live device is like.
    fn look(&self, side: &Side) -> Result<()> {
        side.note("table", table_text(&self.device.table()?));
        side.note("status", table_text(&self.device.status()?));
        side.note("deps", self.device.deps()?.join(" "));
        let info = self.device.info()?;
        side.note(
            "info",
            format!("{:#x} {} targets", info.flags, info.targets),
        );
        let name = self.device.kernel_name();
        for file in ["size", "ro", "alignment_offset", "discard_alignment"] {
            side.note(file, sysfs::file(&name, file)?);
        }
        for (file, value) in sysfs::dir(&name, "queue")? {
            side.note(file, value);
        }
        Ok(())
    }

    /// What is to be compared of the lower devices, given the live table; `None`
    /// if it is not to be written to.
    fn ranges(&self, active: &[Line]) -> Option<Vec<Range>> {
        let mut table = active.to_vec();
        for line in &mut table {
            if let Some(tree) = line.target.strip_prefix("rust-") {
                line.target = tree.to_owned();
            }
        }
        let extents = fuzz::extents(&table)?;
        let ranges = extents.iter().filter_map(|extent| {
            let devices = &self.pool.devices;
            let device = devices.iter().position(|b| b.devno == extent.device)?;
            let start = extent.start.saturating_sub(MARGIN);
            let end = extent.start.saturating_add(extent.len + MARGIN);
            let spec = POOL[device];
            let start = start - start % spec.block;
            let end = end.next_multiple_of(spec.block).min(spec.sectors);
            (start < end).then(|| (device, start, end - start))
        });
        (!fuzz::overlap(&extents)).then(|| ranges.collect())
    }

    /// Does the I/O; without `write` only what changes nothing.
    fn operate(&mut self, side: &Side, plan: &Plan, write: bool, seen: &mut Seen) -> Result<()> {
        let path = self.device.path();
        let direct = open(&path, OFlags::DIRECT);
        let buffered = open(&path, OFlags::empty());
        side.note(
            "open",
            outcome(direct.as_ref().map(|(_, m)| m).map_err(copy)),
        );
        let (Ok((direct, _)), Ok((buffered, _))) = (direct, buffered) else {
            return Ok(());
        };
        for (i, io) in plan.io.iter().enumerate() {
            if io.action.changes() && !write {
                continue;
            }
            let file = if io.direct { &direct } else { &buffered };
            let result = self.operation(file, i, io);
            seen.operations += 1;
            let key = format!("operation {i} ({io})");
            if let (Action::Read | Action::ReadNoWait, Ok(read)) = (io.action, &result) {
                let data = self.buffer[io.skew..io.skew + read].to_vec();
                seen.data.push((key.clone(), data));
            }
            side.note(key, outcome(result));
        }
        side.note("last sync", outcome(buffered.sync_all()));
        Ok(())
    }

    fn operation(&mut self, file: &File, number: usize, io: &Io) -> io::Result<usize> {
        // The kernel takes signed numbers; what is too large has to be refused.
        let (start, len) = (io.sector.wrapping_mul(SECTOR), io.count * SECTOR);
        let memory = &mut self.buffer[io.skew..][..len as usize];
        let mut read = |flags| -> io::Result<usize> {
            let mut slices = [IoSliceMut::new(memory)];
            Ok(preadv2(file, &mut slices, start, flags)?)
        };
        let none = |()| 0;
        match io.action {
            Action::Read => read(ReadWriteFlags::empty()),
            Action::ReadNoWait => {
                // Whether it would have to wait is a matter of chance at times.
                let mut tries = 20;
                loop {
                    match read(ReadWriteFlags::NOWAIT) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries > 0 => tries -= 1,
                        result => return result,
                    }
                    std::thread::yield_now();
                }
            }
            Action::Write | Action::WriteSync => {
                memory.copy_from_slice(&self.noise[..len as usize]);
                stamp(memory, number as u64 + 100, io.sector);
                let flags = match io.action {
                    Action::WriteSync => ReadWriteFlags::DSYNC,
                    _ => ReadWriteFlags::empty(),
                };
                Ok(pwritev2(file, &[IoSlice::new(memory)], start, flags)?)
            }
            Action::Flush => file.sync_all().map(none),
            Action::Discard => sys::BLKDISCARD.range(file, start, len).map(none),
            Action::SecureErase => sys::BLKSECDISCARD.range(file, start, len).map(none),
            Action::ZeroOut => sys::BLKZEROOUT.range(file, start, len).map(none),
            Action::PunchHole => {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                Ok(fallocate(file, flags, start, len).map(none)?)
            }
            Action::ResetZones => sys::BLKRESETZONE.range(file, io.sector, io.count).map(none),
        }
    }

    /// All that is on the lower devices.
    pub fn whole(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut all = Vec::new();
        for (i, (below, spec)) in self.pool.devices.iter().zip(POOL).enumerate() {
            if let Role::Plain(_) | Role::Zoned(_) = spec.role {
                if let Some(data) = below.read(0, spec.sectors)? {
                    all.push((format!("device {i}"), data));
                }
            }
        }
        Ok(all)
    }
}

/// Opens a device, for reading only if it cannot be written.
fn open(path: &Path, flags: OFlags) -> io::Result<(File, &'static str)> {
    let open = |write| {
        OpenOptions::new()
            .read(true)
            .write(write)
            .custom_flags(flags.bits() as i32)
            .open(path)
    };
    match open(true) {
        Ok(file) => Ok((file, "read-write")),
        Err(_) => Ok((open(false)?, "read-only")),
    }
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::from_raw_os_error(error.raw_os_error().unwrap_or_default())
}
