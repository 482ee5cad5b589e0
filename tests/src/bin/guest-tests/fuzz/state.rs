// SPDX-License-Identifier: GPL-2.0

//! What is done with a plan on one side.

use super::pool::{stamp, Pool};
use anyhow::{bail, Context, Result};
use dm_rust_tests::dm::{errno_name, line, outcome, table_text, Line, MappedDevice, Suspend};
use dm_rust_tests::fuzz::{self, Action, Io, Plan, Role, Vanish, POOL};
use dm_rust_tests::kmsg::{judge, Verdict};
use dm_rust_tests::twin::Side;
use dm_rust_tests::{sys, sysfs, SECTOR};
use memmap2::MmapMut;
use rustix::fs::{fallocate, FallocateFlags, OFlags};
use rustix::io::{preadv2, pwritev2, ReadWriteFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
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
    /// What sysfs says of the device.
    pub limits: Vec<String>,
    /// Data that were read from the mapped device, and those on the lower ones
    /// at the end.
    pub data: Data,
    /// Where the lower devices were read.
    ranges: Vec<Range>,
}

/// Data, with what they are. One buffer for all: it is made of pages that are
/// there already.
#[derive(Default)]
pub struct Data {
    bytes: Vec<u8>,
    parts: Vec<(String, usize)>,
}

impl Data {
    fn add(&mut self, what: String, data: &[u8]) {
        self.bytes.extend_from_slice(data);
        self.parts.push((what, self.bytes.len()));
    }

    /// Where these differ from the twin's; `None` if they do not.
    pub fn difference(&self, twin: &Data) -> Option<String> {
        if self.parts == twin.parts && self.bytes == twin.bytes {
            return None;
        }
        let mut start = 0;
        for ((what, end), (twins, twins_end)) in self.parts.iter().zip(&twin.parts) {
            if (what, end) != (twins, twins_end) {
                return Some(format!("{what} against {twins}"));
            }
            let at = (start..*end).find(|i| self.bytes[*i] != twin.bytes[*i]);
            if let Some(at) = at {
                let sector = (at - start) as u64 / SECTOR;
                return Some(format!("{what}: differs from its sector {sector} on"));
            }
            start = *end;
        }
        Some("one of them has more".into())
    }
}

/// Changes a line of our side, after devices were put in.
pub type Twist = dyn Fn(&mut Line, &Pool);

/// One side: a mapped device that takes table after table, and its lower devices.
pub struct State {
    device: MappedDevice,
    /// The lower devices.
    pub pool: Pool,
    /// Files of sysfs that tell of the device, open.
    limits: Vec<(String, File)>,
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
            limits: Vec::new(),
            buffer: MmapMut::map_anon(words * 8 + SKEW)?,
            noise: (0..words).flat_map(|_| rng.u64(..).to_le_bytes()).collect(),
        })
    }

    /// Takes another mapped device, which has had no table.
    pub fn renew(&mut self) -> Result<()> {
        self.limits.clear();
        self.device = MappedDevice::empty()?;
        Ok(())
    }

    /// Fills the lower devices that are wanted anew.
    pub fn fill(&self, wanted: impl Fn(usize) -> bool) -> Result<()> {
        self.pool.fill(&self.noise, wanted)
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
        if !plan.live {
            return Ok(());
        }
        if plan.vanish == Some(Vanish::BeforeResume) {
            self.pool.plug(false)?;
        }
        let resumed = self.device.resume();
        seen.live = resumed.is_ok();
        side.note("resume", outcome(resumed));
        if !seen.live {
            // It is left suspended, with the table that it had, if it had one.
            side.note("resume again", outcome(self.device.resume()));
            return Ok(());
        }
        if plan.vanish == Some(Vanish::Live) {
            self.pool.plug(false)?;
        }
        self.look(side, seen)?;
        if !plan.messages.is_empty() && !self.messages(side, plan)? {
            return Ok(());
        }
        let active = self.device.table()?;
        let ranges = self.ranges(&active);
        seen.ranges = twin.map_or_else(|| ranges.clone().unwrap_or_default(), |t| t.ranges.clone());
        let before = self.device.info()?.event_nr;
        self.operate(side, plan, ranges.is_some(), seen)?;
        let status = table_text(&self.device.status()?);
        // The event of a failed stripe comes a little later.
        let failed = status.contains('D');
        let mut tries = if failed { 10_000 } else { 1 };
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
            self.read(device, start, len, &mut seen.data)?;
        }
        Ok(())
    }

    /// Sends the plan's messages. Whether the device lets I/O through afterwards.
    fn messages(&mut self, side: &Side, plan: &Plan) -> Result<bool> {
        for how in ["live", "suspended"] {
            if how == "suspended" {
                side.note("suspend", outcome(self.device.suspend(Suspend::Flush)));
            }
            for message in &plan.messages {
                let sent = self.device.message(0, message);
                side.note(format!("{how}: message {message:?}"), outcome(sent));
                side.note("table", table_text(&self.device.table()?));
            }
        }
        let resumed = self.device.resume();
        let through = resumed.is_ok();
        side.note("resume after messages", outcome(resumed));
        self.log(side)?;
        Ok(through)
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
    fn look(&mut self, side: &Side, seen: &mut Seen) -> Result<()> {
        side.note("table", table_text(&self.device.table()?));
        side.note("status", table_text(&self.device.status()?));
        side.note("deps", self.device.deps()?.join(" "));
        let info = self.device.info()?;
        side.note(
            "info",
            format!("{:#x} {} targets", info.flags, info.targets),
        );
        if self.limits.is_empty() {
            self.limits = limits(&self.device.kernel_name())?;
        }
        let mut buffer = [0; 256];
        for (name, file) in &self.limits {
            let value = match file.read_at(&mut buffer, 0) {
                Ok(len) => String::from_utf8_lossy(&buffer[..len]).trim_end().into(),
                // Some cannot be read on some devices.
                Err(e) => errno_name(&e),
            };
            seen.limits.push(format!("{name}={value}"));
        }
        Ok(())
    }

    /// Reads from a lower device, if there is something to see.
    fn read(&mut self, device: usize, start: u64, len: u64, data: &mut Data) -> Result<()> {
        let below = &self.pool.devices[device];
        let Some(disk) = &below.disk else {
            return Ok(());
        };
        let what = format!("device {device}, {len} sectors from {start} on");
        let end = start + len;
        for start in (start..end).step_by(fuzz::MOST as usize) {
            let count = fuzz::MOST.min(end - start);
            let buffer = &mut self.buffer[..(count * SECTOR) as usize];
            disk.file()
                .read_exact_at(buffer, start * SECTOR)
                .with_context(|| format!("cannot read {}", below.node))?;
            data.add(what.clone(), buffer);
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
            if io.action == Action::ReadNoWait {
                // Where data wait to be written, it depends on when they are.
                let _ = buffered.sync_all();
            }
            let result = self.operation(file, i, io);
            seen.operations += 1;
            let key = format!("operation {i} ({io})");
            if let (Action::Read | Action::ReadNoWait, Ok(read)) = (io.action, &result) {
                seen.data
                    .add(key.clone(), &self.buffer[io.skew..io.skew + read]);
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
    pub fn whole(&mut self) -> Result<Data> {
        let mut data = Data::default();
        for (i, spec) in POOL.iter().enumerate() {
            if let Role::Plain(_) | Role::Zoned(_) = spec.role {
                self.read(i, 0, spec.sectors, &mut data)?;
            }
        }
        Ok(data)
    }
}

/// Opens what sysfs says of a device.
fn limits(device: &str) -> Result<Vec<(String, File)>> {
    let dir = Path::new("/sys/block").join(device);
    let mut names = ["size", "ro", "alignment_offset", "discard_alignment"]
        .map(str::to_owned)
        .to_vec();
    let queue = sysfs::dir(device, "queue")?;
    names.extend(queue.into_iter().map(|(name, _)| format!("queue/{name}")));
    // Those that can only be written are no matter here.
    Ok(names
        .into_iter()
        .filter_map(|name| Some((File::open(dir.join(&name)).ok()?, name)))
        .map(|(file, name)| (name, file))
        .collect())
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
