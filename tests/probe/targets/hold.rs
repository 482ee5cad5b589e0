// SPDX-License-Identifier: GPL-2.0

//! `rust-probe-hold`: holds bios, and sends them any way that there is.
//!
//! Table: `<start> <length> rust-probe-hold <device>`. Status: `<made> <dropped> <bad>`, and how many
//! parts were worked on. The message `way` and letters says what is done with bios from then on, step
//! by step: `q` to a queue, `s` to a shelf, `p` in parts, `i` to a soft interrupt, `b` below, `t` below
//! by a thread, `f` fails; `S` and `P` to a shelf and in parts with a queue that works on one bio at a
//! time, and `w` keeps that queue at work while the gate is shut, which the message `gate shut` does,
//! and `gate open` undoes. After the last step a bio ends.

use super::{expect, write_counts, Token};
use crate::{
    dm::{
        prelude::*, Buffers, DoneBuffer, Fate, Held, HeldBio, HoldsBios, QueueOptions, Shelf,
        SubmitThread, Tags, Workqueue,
    },
    mem::MaySleep,
};
use kernel::{
    sync::atomic::{Atomic, Relaxed},
    time::{delay::fsleep, Delta},
};

const PARTS: u32 = 3;

/// The kind of target.
pub(crate) struct ProbeHold;

impl TargetType for ProbeHold {
    const NAME: &'static CStr = c"rust-probe-hold";
    const VERSION: [u32; 3] = [1, 0, 0];
    type Target<'ti> = HoldTarget<'ti>;
}

/// One segment of a table.
pub(crate) struct HoldTarget<'ti> {
    dev: &'ti Device,
    queue: &'ti Workqueue,
    shelf: &'ti Shelf,
    narrow: &'ti Workqueue,
    narrow_shelf: &'ti Shelf,
    thread: &'ti SubmitThread,
    buffers: &'ti Buffers,
    /// Up to eight steps, a letter each, the first in the lowest bits.
    way: Atomic<u64>,
    parts: Atomic<u64>,
    shut: Atomic<bool>,
}

/// What is kept with a bio.
pub(crate) struct Kept {
    token: Token,
    sector: Sector,
    /// How many bytes it had in `map`.
    size: u32,
    way: u64,
    /// The step that was made last.
    last: u8,
    /// How many of its parts were worked on.
    parts: Atomic<u32>,
}

type HoldBio<'call, 'ti> = HeldBio<'call, 'ti, HoldTarget<'ti>>;

impl<'ti> HoldTarget<'ti> {
    /// Makes the next step.
    fn go<'call>(
        &self,
        mut bio: HoldBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let kept = bio.data_mut();

        kept.token.look();
        kept.last = kept.way as u8;
        kept.way >>= 8;
        match kept.last {
            b'q' => bio.queue(self.queue),
            b's' => bio.share(self.shelf),
            b'p' => bio.in_parts(self.shelf, PARTS),
            b'S' => bio.share(self.narrow_shelf),
            b'P' => bio.in_parts(self.narrow_shelf, PARTS),
            b'w' => bio.queue(self.narrow),
            b'i' => bio.queue_bh(),
            b'b' | b't' => self.go_below(bio, sleep),
            b'f' => bio.end(Status::IOERR),
            _ => bio.end(Status::OK),
        }
    }

    fn go_below<'call>(
        &self,
        mut bio: HoldBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let Kept { sector, last, .. } = *bio.data();

        if !bio.op().is_write() {
            return match bio.submit_read(self.buffers, self.dev, sector, sleep) {
                Ok(fate) => fate,
                Err(bio) => self.again(bio),
            };
        }
        match self.buffers.new_bio(&bio, self.dev, sector, sleep) {
            Some(mut buffer) => {
                buffer.copy_from(&bio);
                if last == b't' {
                    bio.submit_by(self.thread, buffer, sector)
                } else {
                    bio.submit(buffer)
                }
            }
            None => {
                expect(sleep.is_none());
                bio.data_mut().last = last;
                self.again(bio)
            }
        }
    }

    /// Waits while the gate is shut, but not forever.
    fn wait(&self, _: MaySleep<'_>) {
        const MILLIS: u32 = 60_000;
        let waits = (0..MILLIS).take_while(|_| self.shut.load(Relaxed));

        expect(waits.inspect(|_| fsleep(Delta::from_millis(1))).count() < MILLIS as usize);
    }

    /// Makes the last step again, where memory can be waited for.
    fn again<'call>(&self, mut bio: HoldBio<'call, 'ti>) -> Fate<'call> {
        let kept = bio.data_mut();

        kept.way = kept.way << 8 | u64::from(kept.last);
        kept.last = b'q';
        bio.queue(self.queue)
    }
}

#[vtable]
impl<'ti> Target<'ti> for HoldTarget<'ti> {
    type PerBio = Held<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        const OPTIONS: QueueOptions = QueueOptions {
            high_priority: false,
            per_cpu: false,
            cpu_intensive: false,
            max_active: 0,
        };
        const NARROW: QueueOptions = QueueOptions {
            max_active: 1,
            ..OPTIONS
        };
        let [dev] = args.exactly(c"Invalid argument count")?;
        let dev = ti.get_device(dev, c"Device lookup failed")?;
        let queue = ti.queue(c"probe", OPTIONS, c"No queue")?;
        let narrow = ti.queue(c"narrow", NARROW, c"No queue")?;

        Ok(HoldTarget {
            dev,
            queue,
            shelf: ti.shelf(queue, c"No shelf")?,
            narrow,
            narrow_shelf: ti.shelf(narrow, c"No shelf")?,
            thread: ti.submit_thread(c"probe", false, c"No thread")?,
            buffers: ti.buffers(c"No buffers")?,
            way: Atomic::new(b'b'.into()),
            parts: Atomic::new(0),
            shut: Atomic::new(false),
        })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        let sector = ti.offset(bio.sector());
        let (size, sleep) = (bio.size(), bio.may_sleep());

        if size == 0 || !bio.op().has_data() {
            return bio.remap(self.dev, sector);
        }
        bio.hold(Kept {
            token: Token::default(),
            sector,
            size,
            way: self.way.load(Relaxed),
            last: 0,
            parts: Atomic::new(0),
        })
        .submitted(|bio| self.go(bio, Some(sleep)))
    }

    fn status(&self, _: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => {
                write_counts(out)?;
                write!(out, " {}", self.parts.load(Relaxed))
            }
            StatusType::Table | StatusType::Ima => out.write_str(self.dev.name()),
        }
    }

    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        let [what, steps] = args.exactly(c"").map_err(|_| EINVAL)?;
        let steps = steps.as_bytes();

        if what.as_bytes() == b"gate" {
            self.shut.store(steps == b"shut", Relaxed);
            return Ok(false);
        }
        if what.as_bytes() != b"way" || steps.len() > size_of::<u64>() {
            return Err(EINVAL);
        }
        let way = steps
            .iter()
            .rev()
            .fold(0, |way, step| way << 8 | u64::from(*step));

        self.way.store(way, Relaxed);
        Ok(false)
    }
}

impl<'ti> HoldsBios<'ti> for HoldTarget<'ti> {
    type Data = Kept;

    fn work<'call>(&self, bio: HoldBio<'call, 'ti>, sleep: Option<MaySleep<'call>>) -> Fate<'call> {
        // In a soft interrupt after `i`; by a worker after all else.
        expect(sleep.is_some() != (bio.data().last == b'i'));
        if let (b'w', Some(sleep)) = (bio.data().last, sleep) {
            self.wait(sleep);
        }
        self.go(bio, sleep)
    }

    fn quick<'call>(&self, bio: HoldBio<'call, 'ti>) -> Fate<'call> {
        expect(matches!(bio.data().last, b's' | b'S'));
        self.go(bio, None)
    }

    fn part(&self, bio: &HoldBio<'_, 'ti>, number: u32) -> bool {
        let before = bio.data().parts.fetch_add(1 << (8 * (number & 3)), Relaxed);

        bio.data().token.look();
        // Each once.
        expect(number < PARTS && before >> (8 * (number & 3)) & 0xff == 0);
        self.parts.add(1, Relaxed);
        true
    }

    fn parts_done<'call>(&self, bio: HoldBio<'call, 'ti>, good: bool) -> Fate<'call> {
        expect(good && bio.data().parts.xchg(0, Relaxed) == 0x01_0101);
        self.go(bio, None)
    }

    fn lower_done<'call>(
        &self,
        bio: HoldBio<'call, 'ti>,
        buffer: Option<DoneBuffer<'ti>>,
        status: Status,
    ) -> Fate<'call> {
        expect(buffer.is_some() == bio.op().is_write());
        // It has come back as it went.
        expect(bio.size() == bio.data().size);
        if status.is_error() {
            return bio.end(status);
        }
        self.go(bio, None)
    }

    fn tags<'a>(_: &'a mut Kept) -> Option<&'a mut Tags<'ti>> {
        None
    }
}
