// SPDX-License-Identifier: GPL-2.0

//! `rust-delay`: holds requests back for a while.
//!
//! Table: `<start> <length> rust-delay <device> <offset> <delay> [<device> <offset> <delay>
//! [<device> <offset> <delay>]]`: for all requests, or for reads, writes and flushes, where what is
//! left out is as for writes. Offsets in sectors, delays in milliseconds. Status: how many reads,
//! writes and flushes are being held back.
//!
//! Mirrors `drivers/md/dm-delay.c`, version 1.5.0.

use crate::dm::{prelude::*, Agenda, DueBio, Moment, Next, PutOff, PutsOff};
use kernel::sync::atomic::{Atomic, Relaxed};

/// The target type, `struct target_type delay_target` in C.
pub(crate) struct Delay;

impl TargetType for Delay {
    const NAME: &'static CStr = c"rust-delay";
    const VERSION: [u32; 3] = [1, 5, 0];
    const FEATURES: Features = Features::PASSES_INTEGRITY.and(Features::ZONED_HM);
    const NO_MEMORY: &'static CStr = c"Cannot allocate context";

    type Target<'ti> = DelayTarget<'ti>;
}

/// Where a kind of request goes, and when. `struct delay_class` in C.
#[derive(Clone, Copy)]
struct Way<'ti> {
    dev: &'ti Device,
    /// Where the segment starts on `dev`, in sectors.
    start: Sector,
    /// Milliseconds.
    delay: u32,
}

impl<'ti> Way<'ti> {
    fn parse(ti: &mut Constructor<'ti>, args: &mut Args<'_>) -> CtrResult<Self> {
        let invalid = |message| CtrError::new(EINVAL, message);
        let (Some(dev), Some(start), Some(delay)) = (args.next(), args.next(), args.next()) else {
            return Err(invalid(COUNT));
        };
        let start = start.sector(c"Invalid device sector")?;
        let delay = delay.scan_u32().ok_or(invalid(c"Invalid delay"))?;
        let dev = ti.get_device(dev, c"Device lookup failed")?;

        Ok(Self { dev, start, delay })
    }

    fn write(&self, out: &mut StatusLine<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.dev.name(), self.start, self.delay)
    }
}

const COUNT: &CStr = c"Requires exactly 3, 6 or 9 arguments";

/// What a request is counted as.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Read,
    Write,
    Flush,
}

/// One segment of a table, `struct delay_c` in C.
pub(crate) struct DelayTarget<'ti> {
    reads: Way<'ti>,
    writes: Way<'ti>,
    flushes: Way<'ti>,
    /// How many ways the table names.
    named: usize,
    /// Reads, writes and flushes that are held back.
    held: [Atomic<u32>; 3],
    /// False while the device is suspended, or about to be.
    may_delay: Atomic<bool>,
    agenda: &'ti Agenda,
}

impl<'ti> DelayTarget<'ti> {
    fn way(&self, kind: Kind) -> (&Way<'ti>, &Atomic<u32>) {
        let [reads, writes, flushes] = &self.held;

        match kind {
            Kind::Read => (&self.reads, reads),
            Kind::Write => (&self.writes, writes),
            Kind::Flush => (&self.flushes, flushes),
        }
    }
}

impl<'ti> PutsOff<'ti> for DelayTarget<'ti> {
    /// What it is counted as, and how far it lies from the start of the segment.
    type Data = (Kind, Sector);

    fn due<'call>(&self, bio: DueBio<'call, 'ti, Self>) -> Next<'call> {
        let (kind, offset) = *bio.data();
        let (way, held) = self.way(kind);

        held.fetch_sub(1, Relaxed);
        bio.submit(way.dev, way.start.wrapping_add(offset))
    }
}

#[vtable]
impl<'ti> Target<'ti> for DelayTarget<'ti> {
    type PerBio = PutOff<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Self> {
        let named = match args.len() {
            3 => 1,
            6 => 2,
            9 => 3,
            _ => return Err(CtrError::new(EINVAL, COUNT)),
        };
        let reads = Way::parse(ti, &mut args)?;
        let writes = match named {
            1 => reads,
            _ => Way::parse(ti, &mut args)?,
        };
        let flushes = match named {
            3 => Way::parse(ti, &mut args)?,
            _ => writes,
        };
        let agenda = ti.agenda(c"dm-delay", c"Couldn't start the thread")?;

        ti.set_num_flush_bios(1);
        ti.set_num_discard_bios(1);
        ti.set_accounts_remapped_io();
        Ok(DelayTarget {
            reads,
            writes,
            flushes,
            named,
            held: [const { Atomic::new(0) }; 3],
            may_delay: Atomic::new(true),
            agenda,
        })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        let kind = match (bio.op().is_write(), bio.flags().has(OpFlags::PREFLUSH)) {
            (true, true) => Kind::Flush,
            (true, false) => Kind::Write,
            (false, _) => Kind::Read,
        };
        let (way, held) = self.way(kind);
        let offset = ti.offset(bio.sector());

        if way.delay == 0 || !self.may_delay.load(Relaxed) {
            return bio.remap(way.dev, way.start.wrapping_add(offset));
        }
        let due = Moment::now().after_micros(u64::from(way.delay).saturating_mul(1000));

        held.add(1, Relaxed);
        bio.put_off(self.agenda, due, (kind, offset))
    }

    fn presuspend(&self, _ti: &DmTarget) {
        self.may_delay.store(false, Relaxed);
        self.agenda.hurry(true);
    }

    fn resume(&self, _ti: &DmTarget) {
        self.agenda.hurry(false);
        self.may_delay.store(true, Relaxed);
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => {
                let [reads, writes, flushes] = self.held.each_ref().map(|held| held.load(Relaxed));

                write!(out, "{reads} {writes} {flushes}")
            }
            StatusType::Table => {
                self.reads.write(out)?;
                for way in [&self.writes, &self.flushes]
                    .into_iter()
                    .take(self.named.saturating_sub(1))
                {
                    out.write_char(' ')?;
                    way.write(out)?;
                }
                Ok(())
            }
            StatusType::Ima => Ok(()),
        }
    }

    fn report_zones(&self, ti: &DmTarget, report: &mut ZoneReport<'_>) -> Result<u32> {
        let Way { dev, start, .. } = self.reads;
        let sector = start.wrapping_add(ti.offset(report.next_sector()));

        report.from_device(dev, start, sector)
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        for way in [&self.reads, &self.writes, &self.flushes] {
            callout.call(way.dev, way.start, ti.len())?;
        }
        ControlFlow::Continue(())
    }
}
