// SPDX-License-Identifier: GPL-2.0

//! The way of a bio: what is read is submitted and then decrypted in place, what is written is
//! encrypted into pages of its own and then submitted.

use super::{
    convert::{Conversion, Failure},
    mode::Kind,
    split, spread, CryptTarget,
};
use crate::{
    dm::{self, prelude::*, BufferBio, Data, DoneBuffer, Fate, Held, HeldBio, HoldsBios, Tags},
    mem::MaySleep,
};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// What a target keeps with a bio.
pub(crate) struct Io<'ti> {
    /// Where it starts on the target.
    sector: Sector,
    /// What [`HoldsBios::work`] is to do.
    step: Step,
    tags: Option<Tags<'ti>>,
    /// What was read again after it did not seem authentic.
    again: Option<DoneBuffer<'ti>>,
    /// Whether another CPU is to do the work.
    other: bool,
    /// Which CPU has handed it over, if [`Spread`](super::spread::Spread) counts it.
    from: Option<u32>,
    /// Which [`dm::stretch`] it was when it came, if it is not known who completes bios below.
    stretch: u64,
    /// Whether [`Spread`](super::spread::Spread) counts it among those that are not done.
    counted: bool,
    /// What is written, while it is worked on in parts.
    buffer: Option<BufferBio<'ti>>,
    parts: Parts,
}

/// The parts that a bio is worked on in.
#[derive(Default)]
struct Parts {
    count: u32,
    /// Bytes of each but the last one.
    len: u32,
    /// Those that there was no memory for, a bit for each.
    put_off: AtomicU32,
    failed: AtomicBool,
    /// Whether something did not seem authentic.
    tampered: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Decrypt,
    Write,
    ReadAgain,
    DecryptAgain,
    PutOff,
}

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A queue.
    Queue,
    /// Who submits the bio, or who completes it below, since an option says so.
    Submitter,
    /// Whoever has time, by our own choice: the bio goes to a queue if there is anything to wait for.
    Quick,
}

/// The most that a bio with pages of its own holds, in bytes.
const PAGES_LIMIT: u32 = 256 << kernel::page::PAGE_SHIFT as u32;

type CryptBio<'call, 'ti> = HeldBio<'call, 'ti, CryptTarget<'ti>>;

impl<'ti> CryptTarget<'ti> {
    pub(super) fn map_bio<'map>(
        &self,
        ti: &DmTarget,
        mut bio: Bio<'map, Held<'ti, Self>>,
    ) -> Mapped<'map> {
        let writing = bio.op().is_write();

        // Device mapper has no I/O in flight when it flushes; who discards sees to the order.
        if bio.flags().has(OpFlags::PREFLUSH) || bio.op() == Op::DISCARD {
            let sector = if bio.size() == 0 {
                bio.sector()
            } else {
                self.start.wrapping_add(ti.offset(bio.sector()))
            };
            return bio.remap(self.dev, sector);
        }

        let whole = (self.zoned && writing) || bio.flags().has(OpFlags::ATOMIC);
        let max = self.max_sectors(whole, writing);
        let first = bio.sector();
        let rest = (bio.nr_sectors() > Sector::from(max)).then(|| first.wrapping_add(max.into()));

        if bio.nr_sectors() > Sector::from(max) && (whole || !bio.accept_partial(max)) {
            return bio.kill();
        }
        let mask = self.sector_size.wrapping_sub(1);

        if bio.sector() & Sector::from(mask >> 9) != 0 || bio.size() & mask != 0 {
            return bio.kill();
        }
        let other = self.is_for_other(&bio, writing, rest);
        let Ok(tags) = self.tags_for(&mut bio) else {
            return bio.kill();
        };
        let sleep = bio.may_sleep();
        let sector = ti.offset(bio.sector());
        let step = if writing { Step::Write } else { Step::Read };
        let helps = writing && !other && self.spread.wants_help();
        let (mut counted, mut stretch) = (false, 0);

        if self.may_end_elsewhere(writing) {
            counted = self.spread.count();
            if !counted {
                stretch = dm::stretch();
            }
        }
        let mapped = bio
            .hold(Io {
                sector,
                step,
                tags,
                again: None,
                other,
                from: None,
                stretch,
                counted,
                buffer: None,
                parts: Parts::default(),
            })
            .submitted(|bio| match writing {
                true if self.is_async(&bio) => bio.queue(self.crypt_queue),
                true if self.options.no_write_workqueue => {
                    self.write(bio, Where::Submitter, Some(sleep))
                }
                true if self.is_one_of_many(&bio) => bio.queue(self.crypt_queue),
                true if other => self.hand_over(bio),
                true => self.write(bio, Where::Quick, None),
                false => self.read(bio, None),
            });

        if helps {
            self.writes.help();
        }
        mapped
    }

    /// Whether other CPUs may work on what this one submits: the options do not say otherwise.
    #[inline(always)]
    fn may_spread(&self, writing: bool) -> bool {
        let inline = if writing {
            // Then the order is to stay.
            self.options.no_write_workqueue || self.lower_rotates
        } else {
            self.options.no_read_workqueue
        };

        !inline && !self.options.same_cpu_crypt
    }

    /// Whether bios may be completed by another than who submits them, and be given to a queue then.
    #[inline(always)]
    fn may_end_elsewhere(&self, writing: bool) -> bool {
        !self.lower_is_synchronous && self.may_spread(writing)
    }

    /// Whether there are more bios than this one, and threads that complete them below: then those
    /// threads, and who submits, are to go on with the next.
    #[inline]
    fn is_one_of_many(&self, bio: &CryptBio<'_, 'ti>) -> bool {
        bio.data().counted && self.spread.are_many()
    }

    /// Ends a bio. Nothing else does once it is held.
    #[inline]
    fn end<'call>(&self, bio: CryptBio<'call, 'ti>, status: Status) -> Fate<'call> {
        if bio.data().counted {
            self.spread.uncount();
        }
        bio.end(status)
    }

    /// Whether the bio is to be worked on by another CPU.
    #[inline]
    fn is_for_other(
        &self,
        bio: &Bio<'_, Held<'ti, Self>>,
        writing: bool,
        rest: Option<Sector>,
    ) -> bool {
        let (first, count) = (bio.sector(), bio.nr_sectors());
        // Where the data come later another CPU decrypts them in any case. Who writes a long bio
        // takes part.
        let may = if writing {
            count < Sector::from(spread::CUT)
        } else {
            self.lower_is_synchronous
        };

        may && self.may_spread(writing) && self.spread.is_for_other(first, count, rest)
    }

    /// Works on a bio in parts, if it is large and CPUs have nothing to do.
    #[inline]
    fn has_parts(&self, bio: &mut CryptBio<'_, 'ti>, writing: bool) -> bool {
        let size = bio.size();
        let again = bio.data().again.is_some();

        if size < spread::CUT << 9 || again || !self.may_spread(writing) {
            return false;
        }
        let count = self.spread.begin_parts(bio.nr_sectors());

        if count <= 1 {
            return false;
        }
        // Whole pages, and so whole sectors.
        let len = size.div_ceil(count.max(1)).wrapping_add(4095) & !4095;

        bio.data_mut().parts = Parts {
            count,
            len,
            ..Parts::default()
        };
        true
    }

    /// Works on one part.
    fn do_part(
        &self,
        bio: &CryptBio<'_, 'ti>,
        number: u32,
        sleep: Option<MaySleep<'_>>,
    ) -> Result<(), Failure> {
        let Io {
            sector,
            tags,
            buffer,
            parts,
            ..
        } = bio.data();
        let start = number.wrapping_mul(parts.len);
        let sectors = start.checked_div(self.sector_size).unwrap_or(0) as usize;
        let keyed = self.keyed.get(bio);
        let data = match buffer {
            Some(buffer) if keyed.is_in_place() => {
                Data::InPlace(buffer.cursor_mut().range(start, parts.len))
            }
            Some(buffer) => Data::Apart(
                bio.cursor().range(start, parts.len),
                buffer.cursor_mut().range(start, parts.len),
            ),
            None => {
                let data = bio.cursor_mut().ok_or(Failure::Io)?;

                Data::InPlace(data.range(start, parts.len))
            }
        };

        self.convert(
            keyed,
            Conversion {
                writing: buffer.is_some(),
                data,
                tags: tags
                    .as_ref()
                    .map(|tags| (tags, sectors.wrapping_mul(self.tuple_size))),
                sector: sector.wrapping_add(Sector::from(start >> 9)),
                sleep,
                yields: sleep,
            },
        )
    }

    /// Works on the parts that were put off.
    fn do_put_off<'call>(
        &self,
        bio: CryptBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let put_off = bio.data().parts.put_off.load(Relaxed);
        let numbers =
            (0..bio.data().parts.count).filter(|number| put_off & 1u32.wrapping_shl(*number) != 0);

        for number in numbers {
            match self.do_part(&bio, number, sleep) {
                Ok(()) => {}
                Err(Failure::Tampered(_)) => return self.tampered_in_parts(bio),
                Err(_) => return self.end(bio, Status::IOERR),
            }
        }
        self.finish_parts(bio)
    }

    /// Reads a bio again of which a part did not seem authentic. What comes is looked at as a whole,
    /// sector by sector.
    fn tampered_in_parts<'call>(&self, mut bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        if bio.data().buffer.is_some() {
            return self.end(bio, Status::PROTECTION);
        }
        bio.data_mut().step = Step::ReadAgain;
        bio.queue(self.io_queue)
    }

    fn finish_parts<'call>(&self, mut bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        match bio.data_mut().buffer.take() {
            Some(buffer) => bio.submit(buffer),
            None => self.end(bio, Status::OK),
        }
    }

    /// Gives a bio to another CPU.
    fn hand_over<'call>(&self, mut bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        let shelf = if bio.op().is_write() {
            self.writes
        } else {
            self.reads
        };

        bio.data_mut().from = Some(self.spread.begin());
        bio.share(shelf)
    }

    #[inline]
    fn is_async(&self, bio: &CryptBio<'_, 'ti>) -> bool {
        match &self.keyed.get(bio).cipher {
            Kind::Skcipher(cipher) => cipher.is_async(),
            Kind::Aead(cipher) => cipher.is_async(),
        }
    }

    /// How many sectors of a bio are handled as one.
    fn max_sectors(&self, whole: bool, writing: bool) -> u32 {
        let (read, write) = dm::max_request_sizes();
        let limited = writing || self.options.integrity.is_some();
        let align = self.dev.logical_block_size().max(self.sector_size);

        split::max_sectors(
            whole,
            if writing { write } else { read },
            limited.then_some(PAGES_LIMIT),
            align,
        )
    }

    /// Memory for the tags of a bio. If there is little, the bio becomes smaller.
    fn tags_for(&self, bio: &mut Bio<'_, Held<'ti, Self>>) -> Result<Option<Tags<'ti>>> {
        let Some(pool) = self.tag_pool else {
            return Ok(None);
        };
        let tag_len = |sectors: Sector| {
            let count = usize::try_from(sectors >> (self.sector_shift & 63)).map_err(|_| EIO)?;

            u32::try_from(count.checked_mul(self.tuple_size).ok_or(EIO)?).map_err(|_| EIO)
        };

        if bio.size() == 0 {
            return Ok(None);
        }
        if let Some(tags) = Tags::own(tag_len(bio.nr_sectors())?) {
            return Ok(Some(tags));
        }
        if bio.nr_sectors() > Sector::from(self.tag_pool_sectors)
            && !bio.accept_partial(self.tag_pool_sectors)
        {
            return Err(EIO);
        }
        let sleep = bio.may_sleep();

        Tags::pooled(pool, tag_len(bio.nr_sectors())?, sleep)
            .map(Some)
            .ok_or(EIO)
    }

    fn read<'call>(
        &self,
        bio: CryptBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let sector = self.start.wrapping_add(bio.data().sector);

        match bio.submit_read(self.buffers, self.dev, sector, sleep) {
            Ok(fate) => fate,
            Err(bio) if sleep.is_some() => self.end(bio, Status::RESOURCE),
            Err(bio) => bio.queue(self.io_queue),
        }
    }

    /// Decrypts what was read, here if that is wanted and possible.
    #[inline]
    fn read_done<'call>(&self, mut bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        let step = match bio.data().step {
            Step::ReadAgain | Step::DecryptAgain => Step::DecryptAgain,
            _ => Step::Decrypt,
        };

        bio.data_mut().step = step;
        if self.is_async(&bio) {
            bio.queue(self.crypt_queue)
        } else if !self.options.no_read_workqueue {
            if !dm::is_preemptible() || self.is_one_of_many(&bio) {
                bio.queue(self.crypt_queue)
            } else if bio.data().other {
                self.hand_over(bio)
            } else if self.has_parts(&mut bio, false) {
                let count = bio.data().parts.count;

                bio.in_parts(self.reads, count)
            } else {
                let helps = self.spread.wants_help();
                let fate = self.decrypt(bio, None);

                if helps {
                    self.reads.help();
                }
                fate
            }
        } else if dm::hard_irq_or_irqs_off() {
            bio.queue_bh()
        } else {
            self.decrypt(bio, None)
        }
    }

    fn decrypt<'call>(
        &self,
        mut bio: CryptBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let sector = bio.data().sector;
        let again = bio.data_mut().again.take();
        let data = match &again {
            Some(again) => Some(again.cursor_mut()),
            None => bio.cursor_mut(),
        };
        // Only reads are decrypted.
        let Some(data) = data else {
            return self.end(bio, Status::IOERR);
        };
        let result = self.convert(
            self.keyed.get(&bio),
            Conversion {
                writing: false,
                data: Data::InPlace(data),
                tags: bio.data().tags.as_ref().map(|tags| (tags, 0)),
                sector,
                sleep,
                yields: sleep.filter(|_| !self.options.no_read_workqueue),
            },
        );

        match result {
            Ok(()) => {
                if let Some(again) = again {
                    again.copy_to(&mut bio);
                }
                self.end(bio, Status::OK)
            }
            Err(Failure::TryLater) => {
                bio.data_mut().again = again;
                bio.queue(self.crypt_queue)
            }
            // The reader may have written to the pages meanwhile: look at others.
            Err(Failure::Tampered(_)) if again.is_none() && self.options.integrity.is_some() => {
                bio.data_mut().step = Step::ReadAgain;
                bio.queue(self.io_queue)
            }
            Err(Failure::Tampered(sector)) => {
                self.dev.log_integrity_error(super::LOG_NAME, sector);
                self.end(bio, Status::PROTECTION)
            }
            Err(Failure::Io) => self.end(bio, Status::IOERR),
        }
    }

    fn read_again<'call>(
        &self,
        bio: CryptBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let sector = self.start.wrapping_add(bio.data().sector);

        match self.buffers.new_bio(&bio, self.dev, sector, sleep) {
            Some(buffer) => bio.submit(buffer),
            None => self.end(bio, Status::RESOURCE),
        }
    }

    fn write<'call>(
        &self,
        mut bio: CryptBio<'call, 'ti>,
        place: Where,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let sector = bio.data().sector;
        let to = self.start.wrapping_add(sector);
        let Some(mut buffer) = self.buffers.new_bio(&bio, self.dev, to, sleep) else {
            return if sleep.is_some() {
                self.end(bio, Status::IOERR)
            } else {
                bio.queue(self.crypt_queue)
            };
        };
        let in_place = self.keyed.get(&bio).is_in_place();

        if in_place {
            buffer.copy_from(&bio);
        }
        if place == Where::Quick && bio.data().from.is_none() && self.has_parts(&mut bio, true) {
            let count = bio.data().parts.count;

            bio.data_mut().buffer = Some(buffer);
            return bio.in_parts(self.writes, count);
        }
        let keyed = self.keyed.get(&bio);
        let result = self.convert(
            keyed,
            Conversion {
                writing: true,
                data: if in_place {
                    Data::InPlace(buffer.cursor_mut())
                } else {
                    Data::Apart(bio.cursor(), buffer.cursor_mut())
                },
                tags: bio.data().tags.as_ref().map(|tags| (tags, 0)),
                sector,
                sleep,
                yields: sleep.filter(|_| place == Where::Queue && !self.options.no_write_workqueue),
            },
        );

        match result {
            Err(Failure::Tampered(_)) => self.end(bio, Status::PROTECTION),
            Err(Failure::TryLater) => bio.queue(self.crypt_queue),
            Err(_) => self.end(bio, Status::IOERR),
            // What the submitter encrypts is in order as it is. Other disks need none.
            Ok(())
                if place != Where::Queue
                    || self.options.submit_from_crypt_cpus
                    || self.options.no_write_workqueue
                    || !self.lower_rotates =>
            {
                bio.submit(buffer)
            }
            Ok(()) => bio.submit_by(self.thread, buffer, sector),
        }
    }
}

impl<'ti> HoldsBios<'ti> for CryptTarget<'ti> {
    type Data = Io<'ti>;

    fn work<'call>(
        &self,
        mut bio: CryptBio<'call, 'ti>,
        sleep: Option<MaySleep<'call>>,
    ) -> Fate<'call> {
        let from = bio.data_mut().from.take();
        let fate = match bio.data().step {
            Step::Read => self.read(bio, sleep),
            Step::Decrypt | Step::DecryptAgain => self.decrypt(bio, sleep),
            Step::Write => self.write(bio, Where::Queue, sleep),
            Step::ReadAgain => self.read_again(bio, sleep),
            Step::PutOff => self.do_put_off(bio, sleep),
        };

        if let Some(from) = from {
            self.spread.end(from);
        }
        fate
    }

    fn quick<'call>(&self, mut bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        let from = bio.data_mut().from.take();
        let fate = match bio.data().step {
            Step::Write => self.write(bio, Where::Quick, None),
            _ => self.decrypt(bio, None),
        };

        if let Some(from) = from {
            self.spread.end(from);
        }
        fate
    }

    fn part(&self, bio: &CryptBio<'_, 'ti>, number: u32) -> bool {
        let parts = &bio.data().parts;

        match self.do_part(bio, number, None) {
            Ok(()) => return true,
            Err(Failure::TryLater) => {
                parts.put_off.fetch_or(1 << (number & 31), Relaxed);
            }
            Err(Failure::Tampered(_)) => parts.tampered.store(true, Relaxed),
            Err(Failure::Io) => parts.failed.store(true, Relaxed),
        }
        false
    }

    fn parts_done<'call>(&self, mut bio: CryptBio<'call, 'ti>, good: bool) -> Fate<'call> {
        self.spread.end_parts(bio.data().parts.count);
        if good {
            self.finish_parts(bio)
        } else if bio.data().parts.tampered.load(Relaxed) {
            self.tampered_in_parts(bio)
        } else if bio.data().parts.failed.load(Relaxed) {
            self.end(bio, Status::IOERR)
        } else {
            bio.data_mut().step = Step::PutOff;
            bio.queue(self.crypt_queue)
        }
    }

    fn lower_done<'call>(
        &self,
        mut bio: CryptBio<'call, 'ti>,
        buffer: Option<DoneBuffer<'ti>>,
        status: Status,
    ) -> Fate<'call> {
        let stretch = bio.data().stretch;

        if stretch != 0 && dm::is_preemptible() && dm::stretch() != stretch {
            self.spread.start_counting();
        }
        if status.is_error() || bio.op().is_write() {
            return self.end(bio, status);
        }
        if let Some(mut buffer) = buffer {
            buffer.rewind(bio.size());
            bio.data_mut().again = Some(buffer);
        }
        self.read_done(bio)
    }

    fn tags<'a>(data: &'a mut Io<'ti>) -> Option<&'a mut Tags<'ti>> {
        data.tags.as_mut()
    }
}
