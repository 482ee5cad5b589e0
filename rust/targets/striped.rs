// SPDX-License-Identifier: GPL-2.0

//! `rust-striped`: deals chunks out to several devices in turn.
//!
//! Table: `<start> <length> rust-striped <stripes> <chunk size> [<device> <offset>]+`, sizes and
//! offsets in sectors. The arithmetic is in [`stripes`](super::stripes).
//!
//! Mirrors `drivers/md/dm-stripe.c`, version 1.7.0.

use super::stripes::Stripes;
use crate::dm::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// From this many errors of a device on, no more events are raised.
const IO_ERROR_THRESHOLD: u32 = 15;

/// The target type, `struct target_type stripe_target` in C.
pub(crate) struct Striped;

impl TargetType for Striped {
    const NAME: &'static CStr = c"rust-striped";
    const VERSION: [u32; 3] = [1, 7, 0];
    const FEATURES: Features = Features::PASSES_INTEGRITY
        .and(Features::NOWAIT)
        .and(Features::ATOMIC_WRITES)
        .and(Features::PASSES_CRYPTO);
    const NO_MEMORY: &'static CStr = c"Memory allocation for striped context failed";

    type Target<'ti> = StripedTarget<'ti>;
}

/// One stripe, `struct stripe` in C.
struct Stripe<'ti> {
    dev: &'ti Device,
    /// Where the stripe starts on `dev`, in sectors.
    start: Sector,
    errors: Atomic<u32>,
}

impl Stripe<'_> {
    /// Alive or dead, as the status line has it.
    fn letter(&self) -> char {
        match self.errors.load(Relaxed) {
            0 => 'A',
            _ => 'D',
        }
    }
}

/// One striped segment of a table, `struct stripe_c` in C.
pub(crate) struct StripedTarget<'ti> {
    stripes: KVVec<Stripe<'ti>>,
    arithmetic: Stripes,
    /// How much of each device is used, in sectors.
    width: Sector,
    /// Raised when a device fails.
    event: &'ti TableEvent,
}

impl StripedTarget<'_> {
    fn stripe(&self, number: u32) -> Option<&Stripe<'_>> {
        self.stripes.get(number as usize)
    }

    /// Maps what was cut into one bio for each stripe.
    fn map_range<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        let start = ti.offset(bio.sector());
        let end = start.wrapping_add(bio.nr_sectors());
        let number = bio.number();
        let Some(stripe) = self.stripe(number) else {
            return bio.kill();
        };

        match self.arithmetic.map_range(start, end, number) {
            Some((start, end)) => {
                let sector = stripe.start.wrapping_add(start);

                bio.remap_part(stripe.dev, sector, end.wrapping_sub(start))
            }
            // Nothing of the range lies on this stripe.
            None => bio.end(Status::OK),
        }
    }
}

#[vtable]
impl<'ti> Target<'ti> for StripedTarget<'ti> {
    type PerBio = ();

    fn ctr(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Self> {
        let invalid = |message| CtrError::new(EINVAL, message);
        let (Some(count), Some(chunk)) = (args.next(), args.next()) else {
            return Err(invalid(c"Not enough arguments"));
        };
        let count = count.kstrtouint().filter(|n| *n != 0);
        let count = count.ok_or(invalid(c"Invalid stripe count"))?;
        let chunk = chunk.kstrtouint().filter(|n| *n != 0);
        let chunk = chunk.ok_or(invalid(c"Invalid chunk_size"))?;

        let divide = |n: Sector, by: u32| {
            let by = Sector::from(by);
            n.checked_div(by)
                .filter(|quotient| quotient.wrapping_mul(by) == n)
        };
        let width = divide(ti.len(), count)
            .ok_or(invalid(c"Target length not divisible by number of stripes"))?;
        divide(width, chunk).ok_or(invalid(c"Target length not divisible by chunk size"))?;

        // C counts in 32 bits.
        if args.len() as u32 != count.wrapping_mul(2) {
            return Err(invalid(c"Not enough destinations specified"));
        }
        if args.len() / 2 != count as usize {
            // Only so many stripes that their double does not fit: there is no memory for them.
            return Err(CtrError::new(ENOMEM, Striped::NO_MEMORY));
        }
        let arithmetic = Stripes::new(count, chunk).ok_or(invalid(c"Invalid stripe count"))?;
        let mut stripes = KVVec::with_capacity(args.len() / 2, GFP_KERNEL)?;
        let event = ti.event()?;

        ti.set_max_io_len(Sector::from(chunk))?;
        ti.set_num_flush_bios(count);
        ti.set_num_discard_bios(count);
        ti.set_num_secure_erase_bios(count);
        ti.set_num_write_zeroes_bios(count);
        ti.set_flush_bypasses_map();

        while let (Some(dev), Some(start)) = (args.next(), args.next()) {
            let start = start.sector(c"Couldn't parse stripe destination")?;
            let dev = ti.get_device(dev, c"Couldn't parse stripe destination")?;
            let errors = Atomic::new(0);

            stripes.push(Stripe { dev, start, errors }, GFP_KERNEL)?;
        }
        Ok(StripedTarget {
            stripes,
            arithmetic,
            width,
            event,
        })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        // With all stripes on one disk a flush comes with its data, which have a place of their own.
        if bio.flags().has(OpFlags::PREFLUSH) && bio.size() == 0 {
            return match self.stripe(bio.number()) {
                Some(stripe) => {
                    let sector = bio.sector();

                    bio.remap(stripe.dev, sector)
                }
                None => bio.kill(),
            };
        }
        if let Op::DISCARD | Op::SECURE_ERASE | Op::WRITE_ZEROES = bio.op() {
            return self.map_range(ti, bio);
        }

        let (number, sector) = self.arithmetic.map(ti.offset(bio.sector()));
        match self.stripe(number) {
            Some(stripe) => bio.remap(stripe.dev, stripe.start.wrapping_add(sector)),
            None => bio.kill(),
        }
    }

    fn end_io<'end>(&self, _ti: &DmTarget, bio: EndBio<'end>, status: Status) -> Ended<'end> {
        let expected = bio.flags().has(OpFlags::RAHEAD) || status == Status::NOTSUPP;

        if status.is_error() && !expected {
            // Each stripe on the disk that failed counts.
            for stripe in self.stripes.iter().filter(|s| bio.was_on(s.dev)) {
                stripe.errors.add(1, Relaxed);
                if stripe.errors.load(Relaxed) < IO_ERROR_THRESHOLD {
                    self.event.trigger();
                }
            }
        }
        bio.done(status)
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        let (count, chunk) = (self.arithmetic.count(), self.arithmetic.chunk());

        match kind {
            StatusType::Info => {
                write!(out, "{count} ")?;
                for stripe in &self.stripes {
                    write!(out, "{} ", stripe.dev.name())?;
                }
                out.write_str("1 ")?;
                for stripe in &self.stripes {
                    out.write_char(stripe.letter())?;
                }
            }
            StatusType::Table => {
                write!(out, "{count} {chunk}")?;
                for stripe in &self.stripes {
                    write!(out, " {} {}", stripe.dev.name(), stripe.start)?;
                }
            }
            StatusType::Ima => {
                out.target_name_version::<Striped>()?;
                write!(out, ",stripes={count},chunk_size={chunk}")?;
                for (i, stripe) in self.stripes.iter().enumerate() {
                    write!(out, ",stripe_{i}_device_name={}", stripe.dev.name())?;
                    write!(out, ",stripe_{i}_physical_start={}", stripe.start)?;
                    write!(out, ",stripe_{i}_status={}", stripe.letter())?;
                }
                out.write_str(";")?;
            }
        }
        Ok(())
    }

    fn iterate_devices(&self, _ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        for stripe in &self.stripes {
            callout.call(stripe.dev, stripe.start, self.width)?;
        }
        ControlFlow::Continue(())
    }

    fn io_hints(&self, _ti: &DmTarget, limits: &mut QueueLimits) {
        limits.set_chunk_sectors(self.arithmetic.chunk());
        if let Some((min, opt)) = self.arithmetic.io_sizes() {
            limits.set_io_min(min);
            limits.set_io_opt(opt);
        }
        limits.set_max_hw_discard_sectors(
            self.arithmetic.max_discard(limits.max_hw_discard_sectors()),
        );
    }

    fn dax_map(&self, ti: &DmTarget, sector: Sector) -> Result<(&Device, Sector)> {
        let (number, sector) = self.arithmetic.map(ti.offset(sector));
        let stripe = self.stripe(number).ok_or(EIO)?;

        Ok((stripe.dev, stripe.start.wrapping_add(sector)))
    }
}
