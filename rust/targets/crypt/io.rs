// SPDX-License-Identifier: GPL-2.0

//! The way of a bio: what is read is submitted and then decrypted in place, what is written is
//! encrypted into pages of its own and then submitted.

use super::{
    convert::{Conversion, Failure},
    mode::Kind,
    split, CryptTarget,
};
use crate::dm::{self, prelude::*, DoneBuffer, Fate, Held, HeldBio, HoldsBios, Tags};

/// What a target keeps with a bio.
pub(crate) struct Io<'ti> {
    /// Where it starts on the target.
    sector: Sector,
    /// What [`HoldsBios::work`] is to do.
    step: Step,
    tags: Option<Tags<'ti>>,
    /// What was read again after it did not seem authentic.
    again: Option<DoneBuffer<'ti>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Read,
    Decrypt,
    Write,
    ReadAgain,
    DecryptAgain,
}

/// Who does the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    /// A queue.
    Queue,
    /// Who submits the bio, or who completes it below, since an option says so.
    Submitter,
    /// The same, by our own choice: the bio goes to a queue if there is anything to wait for.
    SubmitterIfQuick,
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

        if bio.nr_sectors() > Sector::from(max) && (whole || !bio.accept_partial(max)) {
            return bio.kill();
        }
        let mask = self.sector_size.wrapping_sub(1);

        if bio.sector() & Sector::from(mask >> 9) != 0 || bio.size() & mask != 0 {
            return bio.kill();
        }
        let Ok(tags) = self.tags_for(&mut bio) else {
            return bio.kill();
        };
        let sector = ti.offset(bio.sector());
        let step = if writing { Step::Write } else { Step::Read };

        bio.hold(Io {
            sector,
            step,
            tags,
            again: None,
        })
        .submitted(|bio| match writing {
            true if self.is_async(&bio) => bio.queue(self.crypt_queue),
            true if self.options.no_write_workqueue => self.write(bio, Where::Submitter),
            true => self.write(bio, Where::SubmitterIfQuick),
            false => self.read(bio, false),
        })
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
        Tags::pooled(pool, tag_len(bio.nr_sectors())?)
            .map(Some)
            .ok_or(EIO)
    }

    fn read<'call>(&self, bio: CryptBio<'call, 'ti>, wait: bool) -> Fate<'call> {
        let sector = self.start.wrapping_add(bio.data().sector);

        match bio.submit_read(self.buffers, self.dev, sector, wait) {
            Ok(fate) => fate,
            Err(bio) if wait => bio.end(Status::RESOURCE),
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
            if dm::is_preemptible() {
                self.decrypt(bio, Where::SubmitterIfQuick)
            } else {
                bio.queue(self.crypt_queue)
            }
        } else if dm::hard_irq_or_irqs_off() {
            bio.queue_bh()
        } else {
            self.decrypt(bio, Where::Submitter)
        }
    }

    fn decrypt<'call>(&self, mut bio: CryptBio<'call, 'ti>, place: Where) -> Fate<'call> {
        let sector = bio.data().sector;
        let mut tags = bio.data_mut().tags.take();
        let again = bio.data_mut().again.take();
        let output = match &again {
            Some(again) => Some(again.cursor_mut()),
            None => bio.cursor_mut(),
        };
        // Only reads are decrypted.
        let Some(output) = output else {
            return bio.end(Status::IOERR);
        };
        let result = self.convert(
            self.keyed.get(&bio),
            Conversion {
                writing: false,
                input: output.reader(),
                output,
                tags: tags.as_mut(),
                sector,
                // Whoever completes the bio below may not be allowed to sleep.
                wait: place == Where::Queue && !dm::in_interrupt(),
                yields: place == Where::Queue && !self.options.no_read_workqueue,
            },
        );

        bio.data_mut().tags = tags;
        match result {
            Ok(()) => {
                if let Some(again) = again {
                    again.copy_to(&mut bio);
                }
                bio.end(Status::OK)
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
                bio.end(Status::PROTECTION)
            }
            Err(Failure::Io) => bio.end(Status::IOERR),
        }
    }

    fn read_again<'call>(&self, bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        let sector = self.start.wrapping_add(bio.data().sector);

        match self.buffers.new_bio(&bio, self.dev, sector, true) {
            Some(buffer) => bio.submit(buffer),
            None => bio.end(Status::RESOURCE),
        }
    }

    fn write<'call>(&self, mut bio: CryptBio<'call, 'ti>, place: Where) -> Fate<'call> {
        let sector = bio.data().sector;
        let to = self.start.wrapping_add(sector);
        let wait = place != Where::SubmitterIfQuick;
        let Some(mut buffer) = self.buffers.new_bio(&bio, self.dev, to, wait) else {
            return if wait {
                bio.end(Status::IOERR)
            } else {
                bio.queue(self.crypt_queue)
            };
        };
        let mut tags = bio.data_mut().tags.take();
        let keyed = self.keyed.get(&bio);
        let in_place = matches!(keyed.cipher, Kind::Aead(_));

        if in_place {
            // What is authenticated must not change meanwhile, and the pages are the writer's.
            buffer.copy_from(&bio);
        }
        let result = self.convert(
            keyed,
            Conversion {
                writing: true,
                input: if in_place {
                    buffer.cursor()
                } else {
                    bio.cursor()
                },
                output: buffer.cursor_mut(),
                tags: tags.as_mut(),
                sector,
                wait,
                yields: !self.options.no_write_workqueue,
            },
        );

        bio.data_mut().tags = tags;
        match result {
            Err(Failure::Tampered(_)) => bio.end(Status::PROTECTION),
            Err(Failure::TryLater) => bio.queue(self.crypt_queue),
            Err(_) => bio.end(Status::IOERR),
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

    fn work<'call>(&self, bio: CryptBio<'call, 'ti>) -> Fate<'call> {
        match bio.data().step {
            Step::Read => self.read(bio, true),
            Step::Decrypt | Step::DecryptAgain => self.decrypt(bio, Where::Queue),
            Step::Write => self.write(bio, Where::Queue),
            Step::ReadAgain => self.read_again(bio),
        }
    }

    fn lower_done<'call>(
        &self,
        mut bio: CryptBio<'call, 'ti>,
        buffer: Option<DoneBuffer<'ti>>,
        status: Status,
    ) -> Fate<'call> {
        if status.is_error() || bio.op().is_write() {
            return bio.end(status);
        }
        if let Some(mut buffer) = buffer {
            buffer.rewind(bio.size());
            bio.data_mut().again = Some(buffer);
        }
        self.read_done(bio)
    }

    fn has_tags(data: &Io<'ti>) -> bool {
        data.tags.is_some()
    }

    fn tags<'a>(data: &'a mut Io<'ti>) -> Option<&'a mut Tags<'ti>> {
        data.tags.as_mut()
    }
}
