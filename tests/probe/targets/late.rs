// SPDX-License-Identifier: GPL-2.0

//! `rust-probe-late`: puts bios off, and uses what it has borrowed up to its end.
//!
//! Table: `<start> <length> rust-probe-late <device> [<what is wrong>]`: a second argument is refused
//! when all else has been made, after `twice` has asked for a queue a second time, and `long` for one
//! with a long name. Status: `<made> <dropped> <bad>`. A message says what is done with bios that are
//! due: `submit`, `fail`, `later` (and are submitted then); `change` changes what may be changed while
//! the device is suspended only, or fails with `EBUSY`.

use super::{expect, write_counts, Token};
use crate::{
    dm::{prelude::*, Agenda, DueBio, Moment, Next, PutOff, PutsOff, QueueOptions, Settled, Shelf},
    mem::Pool,
};
use kernel::sync::atomic::{Atomic, Relaxed};

/// What is done with bios; the place in the list is the number of it.
const WAYS: [&[u8]; 3] = [b"submit", b"fail", b"later"];

/// For how long bios are put off, in microseconds.
const MICROS: u64 = 500;

/// The kind of target.
pub(crate) struct ProbeLate;

impl TargetType for ProbeLate {
    const NAME: &'static CStr = c"rust-probe-late";
    const VERSION: [u32; 3] = [1, 0, 0];
    type Target<'ti> = LateTarget<'ti>;
}

/// One segment of a table.
pub(crate) struct LateTarget<'ti> {
    dev: &'ti Device,
    agenda: &'ti Agenda,
    event: &'ti TableEvent,
    shelf: &'ti Shelf,
    pool: &'ti Pool,
    settled: Settled<'ti, u64>,
    way: Atomic<u32>,
}

/// What is kept with a bio.
pub(crate) struct Kept {
    token: Token,
    sector: Sector,
    again: bool,
}

impl LateTarget<'_> {
    fn is(&self, way: &[u8]) -> bool {
        WAYS.get(self.way.load(Relaxed) as usize) == Some(&way)
    }
}

/// No bio is left, and all that was borrowed is there.
impl Drop for LateTarget<'_> {
    fn drop(&mut self) {
        self.agenda.hurry(true);
        self.agenda.hurry(false);
        self.shelf.help();
        expect(self.pool.take(None).is_some());
        expect(self.dev.nr_sectors() != 0);
        self.event.trigger();
    }
}

#[vtable]
impl<'ti> Target<'ti> for LateTarget<'ti> {
    type PerBio = PutOff<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Self> {
        const OPTIONS: QueueOptions = QueueOptions {
            high_priority: false,
            per_cpu: false,
            cpu_intensive: false,
            max_active: 0,
        };
        let dev = args.next().ok_or(CtrError::new(EINVAL, c"No device"))?;
        let queue = ti.queue(c"probe-late", OPTIONS, c"No queue")?;

        // The queue has its number by now, and keeps it.
        ti.number_queues(c"No number")?;
        let this = LateTarget {
            dev: ti.get_device(dev, c"Device lookup failed")?,
            agenda: ti.agenda(c"probe-late", c"No agenda")?,
            event: ti.event()?,
            shelf: ti.shelf(queue, c"No shelf")?,
            pool: ti.pool(1, 64, c"No pool")?,
            settled: ti.settled(0)?,
            way: Atomic::new(0),
        };

        // What was made is dropped if this fails.
        match args.next().map(|what| what.as_bytes()) {
            None => return Ok(this),
            Some(b"twice") => {
                ti.queue(c"probe-late", OPTIONS, c"A second queue")?;
            }
            Some(b"long") => {
                ti.queue(c"probe-later-yet", OPTIONS, c"A long name")?;
            }
            Some(_) => {}
        }
        Err(CtrError::new(EINVAL, c"Too many arguments"))
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        let kept = Kept {
            token: Token::default(),
            sector: ti.offset(bio.sector()),
            again: self.is(b"later"),
        };

        bio.put_off(self.agenda, Moment::now().after_micros(MICROS), kept)
    }

    fn presuspend(&self, _: &DmTarget) {
        self.agenda.hurry(true);
    }

    fn resume(&self, _: &DmTarget) {
        self.agenda.hurry(false);
    }

    fn status(&self, _: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => write_counts(out),
            StatusType::Table | StatusType::Ima => out.write_str(self.dev.name()),
        }
    }

    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        let sleep = args.may_sleep();
        let [way] = args.exactly(c"").map_err(|_| EINVAL)?;

        if way.as_bytes() == b"change" {
            let changed = self.settled.change(sleep, |value| *value += 1);

            return changed.map(|()| false).ok_or(EBUSY);
        }
        let way = WAYS.iter().position(|known| *known == way.as_bytes());

        self.way.store(way.ok_or(EINVAL)? as u32, Relaxed);
        Ok(false)
    }
}

impl<'ti> PutsOff<'ti> for LateTarget<'ti> {
    type Data = Kept;

    fn due<'call>(&self, mut bio: DueBio<'call, 'ti, Self>) -> Next<'call> {
        let kept = bio.data_mut();
        let (again, sector) = (core::mem::take(&mut kept.again), kept.sector);

        kept.token.look();
        if again {
            return bio.later(Moment::now().after_micros(MICROS));
        }
        if self.is(b"fail") {
            return bio.end(Status::MEDIUM);
        }
        bio.submit(self.dev, sector)
    }
}
