// SPDX-License-Identifier: GPL-2.0

//! `rust-powercut`: a disk with a volatile write cache, whose power can be cut.
//!
//! Table: `<start> <length> rust-powercut <device> <offset> [<number of words> <option>...]`:
//!
//! - `seed <number>`: what happens by chance follows from it, and from the requests.
//! - `cache <bytes>`: the memory of the cache, 8 MiB if not given. A write takes whole pages, a
//!   pointer for each, and 512 bytes; beside that the target holds no more than one write of 1 MiB.
//!   What does not fit is written back, in an order that follows from the seed.
//! - `odds <kept> <dropped> <torn>`: what becomes of writes that were not flushed, 1 1 1.
//! - `unit <sectors>`: writes are torn only at multiples of this, 1.
//! - `lying`: flushes and FUA are acknowledged, and not done.
//! - `error <r|w|f> <rate> <first> <sectors>`: so many in 10^9 of the reads or writes there fail, or
//!   of the flushes, wherever. `bad <first> <sectors>`, `bad_rate <rate>`: bad sectors, which
//!   cannot be read. `misdirect <rate>`: so many in 10^9 writes go elsewhere.
//! - `latency <r|w|f> fixed <time>`, `... uniform <least> <most>`, `... long <least> <most>`, in
//!   microseconds.
//!
//! Messages: `powercut`: now. Each write that was not flushed is kept, dropped or torn; all I/O
//! fails until `restore`. `powercut after <N>`: at the Nth write from now on, which is not
//! acknowledged; `powercut after 0`: not after all.
//!
//! The device takes no discards. What is in the cache is written back when it is suspended or
//! removed, as when a disk is shut down.
//!
//! - [`cache`]: what the cache holds; [`map`]: the tree for that.
//! - [`chance`]: decisions; [`options`]: the words of a table.

mod cache;
mod chance;
mod map;
mod options;

use self::{
    cache::{Cache, Write as CachedWrite},
    chance::{About, Chance, Fate},
    options::{Kind, Options},
};
use crate::dm::{prelude::*, Agenda, DueBio, Moment, Next, PutOff, PutsOff, Sectors, WithoutIo};
use kernel::{new_mutex, sync::Mutex};

/// The largest request, in sectors.
const MAX_SECTORS: Sector = 2048;
/// What a write in the cache takes beside its pages.
const OVERHEAD: u64 = 512;

/// The target type.
pub(crate) struct Powercut;

impl TargetType for Powercut {
    const NAME: &'static CStr = c"rust-powercut";
    const VERSION: [u32; 3] = [1, 0, 0];

    type Target<'ti> = PowercutTarget<'ti>;
}

/// One segment of a table.
#[pin_data]
pub(crate) struct PowercutTarget<'ti> {
    dev: &'ti Device,
    /// Where the segment starts on `dev`, in sectors.
    start: Sector,
    /// How many sectors it has.
    len: Sector,
    options: KBox<Options>,
    agenda: &'ti Agenda,
    #[pin]
    disk: Mutex<Disk>,
}

/// What changes. Held while I/O below is waited for, so that there is one request at a time.
struct Disk {
    cache: Cache<Sectors>,
    powered: bool,
    /// The number of the write at which the power is cut.
    cut_at: Option<u64>,
    counts: Counts,
}

/// How often things have happened. The first three number the requests, too.
#[derive(Clone, Copy, Default)]
struct Counts {
    reads: u64,
    writes: u64,
    flushes: u64,
    written_back: u64,
    cuts: u64,
    kept: u64,
    dropped: u64,
    torn: u64,
    errors: u64,
    bad: u64,
    misdirected: u64,
    lied: u64,
}

impl Disk {
    fn new() -> Self {
        Self {
            cache: Cache::new(),
            powered: true,
            cut_at: None,
            counts: Counts::default(),
        }
    }
}

/// How far a request has got.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    /// It has arrived.
    New,
    /// It is completed when it is time, if the power is not cut before.
    Answer(Status, u64),
    /// It is sent on when it is time.
    Forward(u64),
}

/// What is done with a request.
enum Verdict {
    End(Status),
    /// Nothing of it is in the cache.
    Forward,
}

impl<'ti> PowercutTarget<'ti> {
    fn chance(&self) -> Chance {
        Chance(self.options.seed)
    }

    /// Where a sector of the segment is on the device.
    fn below(&self, sector: Sector) -> Sector {
        self.start.wrapping_add(sector)
    }

    /// Puts a write on the medium, and takes it out of the cache. It stays there if that fails.
    fn persist(&self, disk: &mut Disk, number: u64, fua: bool) -> Status {
        let Some(write) = disk.cache.get(number) else {
            return Status::OK;
        };
        let status = write
            .data
            .write(0, write.len, self.dev, self.below(write.start), fua);

        if !status.is_error() {
            disk.cache.remove(number);
            disk.counts.written_back += 1;
        }
        status
    }

    /// As [`persist`](Self::persist), after those that have to be there before it.
    fn write_back(&self, disk: &mut Disk, number: u64, fua: bool) -> Status {
        loop {
            let first = disk.cache.first_to_go(number);
            let status = self.persist(disk, first, fua);

            if status.is_error() || first == number {
                return status;
            }
        }
    }

    /// Writes back until there is room for so much more.
    fn make_room(&self, disk: &mut Disk, memory: u64) -> Status {
        while disk.cache.memory().saturating_add(memory) > self.options.cache {
            let (Some(first), Some(last)) = (disk.cache.first_from(0), disk.cache.last()) else {
                break;
            };
            let span = last.saturating_sub(first).saturating_add(1);
            let drawn = self
                .chance()
                .below(span, About::Victim, disk.counts.written_back, last);
            let victim = disk.cache.first_from(first.saturating_add(drawn));
            let status = self.write_back(disk, victim.unwrap_or(first), false);

            if status.is_error() {
                return status;
            }
        }
        Status::OK
    }

    /// Writes all back, in the order in which it came.
    fn flush(&self, disk: &mut Disk) -> Status {
        while let Some(first) = disk.cache.first_from(0) {
            let status = self.persist(disk, first, false);

            if status.is_error() {
                return status;
            }
        }
        self.dev.flush()
    }

    /// Cuts the power.
    fn cut(&self, disk: &mut Disk) -> Status {
        let chance = self.chance();
        let mut result = Status::OK;

        disk.powered = false;
        disk.cut_at = None;
        disk.counts.cuts += 1;
        while let Some(number) = disk.cache.first_from(0) {
            let Some(write) = disk.cache.remove(number) else {
                break;
            };
            let fate = chance.fate(
                self.options.odds,
                self.options.unit,
                disk.counts.cuts,
                number,
                write.start,
                write.len,
            );
            let (from, to) = match fate {
                Fate::Kept => {
                    disk.counts.kept += 1;
                    (0, write.len)
                }
                Fate::Dropped => {
                    disk.counts.dropped += 1;
                    continue;
                }
                Fate::Torn { from, to } => {
                    disk.counts.torn += 1;
                    (from, to)
                }
            };
            let sector = self.below(write.start.saturating_add(from.into()));
            let status = write
                .data
                .write(from, to.saturating_sub(from), self.dev, sector, false);

            if status.is_error() {
                result = status;
            }
        }
        let flushed = self.dev.flush();

        if result.is_error() {
            result
        } else {
            flushed
        }
    }

    /// Whether a request fails by chance.
    fn fails(&self, kind: Kind, number: u64, sector: Sector, len: Sector) -> bool {
        let about = match kind {
            Kind::Read => About::ReadError,
            Kind::Write => About::WriteError,
            Kind::Flush => About::FlushError,
        };

        (0..).zip(&self.options.failing).any(|(i, failing)| {
            failing.is_some_and(|failing| {
                failing.kind == kind
                    && (kind == Kind::Flush || failing.range.meets(sector, len))
                    && self.chance().happens(failing.rate, about, number, i)
            })
        })
    }

    /// Whether sectors cannot be read.
    fn is_bad(&self, sector: Sector, len: Sector) -> bool {
        let rate = self.options.bad_rate;
        let mut sectors = sector..sector.saturating_add(len);

        self.options
            .bad
            .iter()
            .flatten()
            .any(|range| range.meets(sector, len))
            || (rate != 0
                && sectors.any(|sector| self.chance().happens(rate, About::BadSector, sector, 0)))
    }

    fn read(&self, disk: &mut Disk, bio: &mut DueBio<'_, 'ti, Self>, sector: Sector) -> Verdict {
        let len = bio.nr_sectors();
        let number = disk.counts.reads;

        disk.counts.reads += 1;
        if self.fails(Kind::Read, number, sector, len) {
            disk.counts.errors += 1;
            return Verdict::End(Status::IOERR);
        }
        if self.is_bad(sector, len) {
            disk.counts.bad += 1;
            return Verdict::End(Status::MEDIUM);
        }
        let first = disk.cache.piece(sector, len);

        if first.write.is_none() && first.len >= len {
            return Verdict::Forward;
        }
        if first.write.is_none() || first.len < len {
            let status = bio.transfer(self.dev, self.below(sector));

            if status.is_error() {
                return Verdict::End(status);
            }
        }
        let mut done = 0;

        while done < len {
            let at = sector.saturating_add(done);
            let piece = disk.cache.piece(at, len.saturating_sub(done));

            if let Some(write) = piece.write.and_then(|number| disk.cache.get(number)) {
                let first = at.saturating_sub(write.start) as u32;

                write
                    .data
                    .copy_to(first, piece.len as u32, bio, done as u32);
            }
            // Never nothing, since something is left.
            done = done.saturating_add(piece.len.max(1));
        }
        Verdict::End(Status::OK)
    }

    fn write(&self, disk: &mut Disk, bio: &mut DueBio<'_, 'ti, Self>, sector: Sector) -> Status {
        let len = bio.nr_sectors();
        let number = disk.counts.writes;
        let chance = self.chance();
        let fua = bio.flags().has(OpFlags::FUA);
        let cut = disk.cut_at.is_some_and(|at| number >= at);

        disk.counts.writes += 1;
        if self.fails(Kind::Write, number, sector, len) {
            disk.counts.errors += 1;
            if cut {
                self.cut(disk);
            }
            return Status::IOERR;
        }
        let mut start = sector;

        if chance.happens(self.options.misdirect, About::Misdirected, number, 0) {
            let places = self.len.checked_div(len).unwrap_or(0);

            disk.counts.misdirected += 1;
            start = chance
                .below(places, About::MisdirectedTo, number, 0)
                .saturating_mul(len);
        }
        let memory = Sectors::memory_for(bio.size()).saturating_add(OVERHEAD);
        let status = self.make_room(disk, memory);

        if status.is_error() {
            return status;
        }
        let cached = Sectors::of(bio).is_ok_and(|data| {
            let write = CachedWrite {
                start,
                len: data.count(),
                data,
                memory,
            };

            disk.cache.add(number, write).is_ok()
        });

        if !cached {
            // Without memory the cache is not used.
            while let Some(first) = disk.cache.first_in_the_way(start, len as u32) {
                let status = self.persist(disk, first, false);

                if status.is_error() {
                    return status;
                }
            }
            let status = bio.transfer(self.dev, self.below(start));

            if status.is_error() {
                return status;
            }
        }
        if cut {
            self.cut(disk);
            return Status::IOERR;
        }
        if fua && self.options.lying {
            disk.counts.lied += 1;
        } else if fua || memory > self.options.cache {
            return self.write_back(disk, number, fua);
        }
        Status::OK
    }

    fn flush_request(&self, disk: &mut Disk) -> Status {
        let number = disk.counts.flushes;

        disk.counts.flushes += 1;
        if self.fails(Kind::Flush, number, 0, self.len) {
            disk.counts.errors += 1;
            return Status::IOERR;
        }
        if self.options.lying {
            disk.counts.lied += 1;
            return Status::OK;
        }
        self.flush(disk)
    }

    /// Does what a request wants, and says how long that takes, in microseconds.
    fn serve(&self, disk: &mut Disk, bio: &mut DueBio<'_, 'ti, Self>) -> (Verdict, u32) {
        let Place(sector) = bio.data().1;

        if !disk.powered {
            return (Verdict::End(Status::IOERR), 0);
        }
        let (kind, about, number, verdict) = if bio.flags().has(OpFlags::PREFLUSH) {
            let number = disk.counts.flushes;
            let status = self.flush_request(disk);

            (
                Kind::Flush,
                About::FlushLatency,
                number,
                Verdict::End(status),
            )
        } else if bio.op() == Op::WRITE {
            let number = disk.counts.writes;
            let status = self.write(disk, bio, sector);

            (
                Kind::Write,
                About::WriteLatency,
                number,
                Verdict::End(status),
            )
        } else if bio.op() == Op::READ {
            let number = disk.counts.reads;
            let verdict = self.read(disk, bio, sector);

            (Kind::Read, About::ReadLatency, number, verdict)
        } else {
            return (Verdict::End(Status::NOTSUPP), 0);
        };
        let micros = self.options.latency(kind).map_or(0, |latency| {
            latency.micros(self.chance().draw(about, number, 0))
        });

        (verdict, micros)
    }

    /// Whether the power was there all the time since that many cuts.
    fn is_powered_since(&self, cuts: u64) -> bool {
        let disk = self.disk.lock();

        disk.powered && disk.counts.cuts == cuts
    }
}

/// A sector of the segment.
#[derive(Clone, Copy)]
pub(crate) struct Place(Sector);

impl<'ti> PutsOff<'ti> for PowercutTarget<'ti> {
    type Data = (Stage, Place);

    fn due<'call>(&self, mut bio: DueBio<'call, 'ti, Self>) -> Next<'call> {
        let (stage, Place(sector)) = *bio.data();

        match stage {
            Stage::New => {
                let (verdict, micros, cuts) = WithoutIo::during(|| {
                    let mut disk = self.disk.lock();
                    let (verdict, micros) = self.serve(&mut disk, &mut bio);

                    (verdict, micros, disk.counts.cuts)
                });

                if micros == 0 {
                    return match verdict {
                        Verdict::End(status) => bio.end(status),
                        Verdict::Forward => bio.submit(self.dev, self.below(sector)),
                    };
                }
                bio.data_mut().0 = match verdict {
                    Verdict::End(status) => Stage::Answer(status, cuts),
                    Verdict::Forward => Stage::Forward(cuts),
                };
                bio.later(Moment::now().after_micros(micros.into()))
            }
            Stage::Answer(_, cuts) | Stage::Forward(cuts) if !self.is_powered_since(cuts) => {
                bio.end(Status::IOERR)
            }
            Stage::Answer(status, _) => bio.end(status),
            Stage::Forward(_) => bio.submit(self.dev, self.below(sector)),
        }
    }
}

/// What a table says.
struct Parameters<'ti> {
    dev: &'ti Device,
    start: Sector,
    options: KBox<Options>,
    agenda: &'ti Agenda,
}

fn parse<'ti>(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Parameters<'ti>> {
    let invalid = |message| CtrError::new(EINVAL, message);
    let (Some(dev), Some(start)) = (args.next(), args.next()) else {
        return Err(invalid(c"Invalid argument count"));
    };
    let start = start.sector(c"Invalid device sector")?;

    if !args.is_empty() {
        let count = args.read_group(0..=u32::MAX, c"Invalid number of option words")?;

        if count as usize != args.len() {
            return Err(invalid(c"Invalid number of option words"));
        }
    }
    let options = Options::parse(args.map(|arg| arg.as_bytes())).map_err(invalid)?;
    let options = KBox::new(options, GFP_KERNEL)?;
    let dev = ti.get_device(dev, c"Device lookup failed")?;

    if dev.is_zoned() {
        return Err(invalid(c"Zoned devices have no such cache"));
    }
    let agenda = ti.agenda(c"dm-powercut", c"Couldn't start the thread")?;

    ti.set_max_io_len(MAX_SECTORS)?;
    ti.set_num_flush_bios(1);
    ti.set_flush_supported();
    Ok(Parameters {
        dev,
        start,
        options,
        agenda,
    })
}

#[vtable]
impl<'ti> Target<'ti> for PowercutTarget<'ti> {
    type PerBio = PutOff<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> impl PinInit<Self, CtrError> {
        let parameters = parse(ti, args);
        let len = ti.len();

        pin_init::pin_init_scope(move || {
            let parameters = parameters?;

            Ok(try_pin_init!(Self {
                dev: parameters.dev,
                start: parameters.start,
                len,
                options: parameters.options,
                agenda: parameters.agenda,
                disk <- new_mutex!(Disk::new(), "dm_rust::powercut"),
            }? CtrError))
        })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        let place = Place(ti.offset(bio.sector()));

        bio.put_off(self.agenda, Moment::now(), (Stage::New, place))
    }

    fn presuspend(&self, _ti: &DmTarget) {
        self.agenda.hurry(true);
    }

    fn postsuspend(&self, _ti: &DmTarget) {
        // Whoever suspends cannot be told that it failed; the data stay in the cache then.
        let _ = WithoutIo::during(|| self.flush(&mut self.disk.lock()));
    }

    fn resume(&self, _ti: &DmTarget) {
        self.agenda.hurry(false);
    }

    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        let mut args = args;
        let words = (args.next(), args.next(), args.next(), args.next());

        WithoutIo::during(|| {
            let mut disk = self.disk.lock();

            match words {
                (Some(what), None, ..) if what.is(b"powercut") => {
                    if !disk.powered {
                        return Err(EINVAL);
                    }
                    match self.cut(&mut disk).is_error() {
                        true => Err(EIO),
                        false => Ok(false),
                    }
                }
                (Some(what), Some(after), Some(count), None)
                    if what.is(b"powercut") && after.is(b"after") =>
                {
                    let count = count.scan_u64().ok_or(EINVAL)?;

                    if !disk.powered {
                        return Err(EINVAL);
                    }
                    let last = count.checked_sub(1);

                    disk.cut_at = last.map(|last| disk.counts.writes.saturating_add(last));
                    Ok(false)
                }
                (Some(what), None, ..) if what.is(b"restore") => {
                    if disk.powered {
                        return Err(EINVAL);
                    }
                    disk.powered = true;
                    Ok(false)
                }
                _ => Err(EINVAL),
            }
        })
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => {
                let (powered, cached, counts) = {
                    let disk = self.disk.lock();

                    (disk.powered, disk.cache.memory(), disk.counts)
                };

                write!(
                    out,
                    "{} cached {cached}/{}",
                    if powered { "on" } else { "off" },
                    self.options.cache
                )?;
                for (name, count) in [
                    ("reads", counts.reads),
                    ("writes", counts.writes),
                    ("flushes", counts.flushes),
                    ("written_back", counts.written_back),
                    ("cuts", counts.cuts),
                    ("kept", counts.kept),
                    ("dropped", counts.dropped),
                    ("torn", counts.torn),
                    ("errors", counts.errors),
                    ("bad", counts.bad),
                    ("misdirected", counts.misdirected),
                    ("lied", counts.lied),
                ] {
                    write!(out, " {name} {count}")?;
                }
                Ok(())
            }
            StatusType::Table => {
                write!(out, "{} {}", self.dev.name(), self.start)?;
                self.options.write(out)
            }
            StatusType::Ima => {
                out.target_name_version::<Powercut>()?;
                write!(
                    out,
                    ",device_name={},start={};",
                    self.dev.name(),
                    self.start
                )
            }
        }
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        callout.call(self.dev, self.start, ti.len())
    }
}
