// SPDX-License-Identifier: GPL-2.0

//! `rust-flakey`: a device that fails now and then.
//!
//! Table: `<start> <length> rust-flakey <device> <offset> <up> <down> [<number of words> <feature>
//! ...]`, the offset in sectors. For `up` seconds all is well; for `down` seconds after that the
//! device does what the features say, and so on in turns. Without features all fails.
//!
//! - `error_reads`, `error_writes`: these fail. `drop_writes`: these are lost.
//! - `corrupt_bio_byte <Nth byte> <r|w> <value> <flags>`: that byte, from 1, of each read or write
//!   which has all of the flags.
//! - `random_read_corrupt <rate>`, `random_write_corrupt <rate>`: a byte of so many in 10^9 of them.
//!
//! Mirrors `drivers/md/dm-flakey.c`, version 1.5.0.

use crate::{
    dm::{prelude::*, KeepsStart, Moment},
    mem::fill_random,
};

/// What rates are parts of.
const RATE_BASE: u32 = 1_000_000_000;

/// The target type, `struct target_type flakey_target` in C.
pub(crate) struct Flakey;

impl TargetType for Flakey {
    const NAME: &'static CStr = c"rust-flakey";
    const VERSION: [u32; 3] = [1, 5, 0];
    const FEATURES: Features = Features::ZONED_HM.and(Features::PASSES_CRYPTO);
    const NO_MEMORY: &'static CStr = c"Cannot allocate context";

    type Target<'ti> = FlakeyTarget<'ti>;
}

/// Which bytes are overwritten, with what.
#[derive(Clone, Copy)]
struct Corruption {
    /// From 1.
    byte: u32,
    /// Of writes, not of reads.
    writes: bool,
    value: u8,
    /// Only of bios that have all of these bits.
    flags: u32,
}

/// What happens while the device is down.
#[derive(Clone, Copy, Default)]
struct Trouble {
    error_reads: bool,
    drop_writes: bool,
    error_writes: bool,
    corruption: Option<Corruption>,
    random_read: u32,
    random_write: u32,
}

/// One segment of a table, `struct flakey_c` in C.
pub(crate) struct FlakeyTarget<'ti> {
    dev: &'ti Device,
    /// Where the segment starts on `dev`, in sectors.
    start: Sector,
    /// When the table was loaded.
    born: Moment,
    /// Seconds.
    up: u32,
    down: u32,
    trouble: Trouble,
}

fn invalid(message: &'static CStr) -> CtrError {
    CtrError::new(EINVAL, message)
}

impl Trouble {
    fn parse(args: &mut Args<'_>) -> CtrResult<Self> {
        let mut this = Self::default();
        let mut count = match args.is_empty() {
            true => 0,
            false => args.read_group(0..=11, c"Invalid number of feature args")?,
        };

        while let Some(left) = count.checked_sub(1) {
            let name = args
                .next()
                .ok_or(invalid(c"Insufficient feature arguments"))?;

            count = left.saturating_sub(this.feature(&name, args, left)?);
        }
        this.check()?;
        if !this.has_any() {
            this.error_reads = true;
            this.error_writes = true;
        }
        Ok(this)
    }

    /// Reads a feature, after which there are `left` words, and returns how many of those it took.
    fn feature(&mut self, name: &Arg<'_>, args: &mut Args<'_>, left: u32) -> CtrResult<u32> {
        if name.is(b"error_reads") {
            if self.error_reads {
                return Err(invalid(c"Feature error_reads duplicated"));
            }
            self.error_reads = true;
        } else if name.is(b"drop_writes") {
            if self.drop_writes {
                return Err(invalid(c"Feature drop_writes duplicated"));
            }
            if self.error_writes {
                return Err(invalid(
                    c"Feature drop_writes conflicts with feature error_writes",
                ));
            }
            self.drop_writes = true;
        } else if name.is(b"error_writes") {
            if self.error_writes {
                return Err(invalid(c"Feature error_writes duplicated"));
            }
            if self.drop_writes {
                return Err(invalid(
                    c"Feature error_writes conflicts with feature drop_writes",
                ));
            }
            self.error_writes = true;
        } else if name.is(b"corrupt_bio_byte") {
            if self.corruption.is_some() {
                return Err(invalid(c"Feature corrupt_bio_byte duplicated"));
            }
            if left < 4 {
                return Err(invalid(c"Feature corrupt_bio_byte requires 4 parameters"));
            }
            self.corruption = Some(Corruption::parse(args)?);
            return Ok(4);
        } else if name.is(b"random_read_corrupt") {
            if self.random_read != 0 {
                return Err(invalid(c"Feature random_read_corrupt duplicated"));
            }
            if left == 0 {
                return Err(invalid(c"Feature random_read_corrupt requires a parameter"));
            }
            self.random_read = args.read(0..=RATE_BASE, c"Invalid random corrupt argument")?;
            return Ok(1);
        } else if name.is(b"random_write_corrupt") {
            if self.random_write != 0 {
                return Err(invalid(c"Feature random_write_corrupt duplicated"));
            }
            if left == 0 {
                return Err(invalid(
                    c"Feature random_write_corrupt requires a parameter",
                ));
            }
            self.random_write = args.read(0..=RATE_BASE, c"Invalid random corrupt argument")?;
            return Ok(1);
        } else {
            return Err(invalid(c"Unrecognised flakey feature requested"));
        }
        Ok(0)
    }

    /// Whether features contradict each other.
    fn check(&self) -> CtrResult {
        let corrupts = |writes| self.corruption.is_some_and(|c| c.writes == writes);
        let corrupts_writes = corrupts(true) || self.random_write != 0;
        let corrupts_reads = corrupts(false) || self.random_read != 0;

        if self.drop_writes && corrupts_writes {
            return Err(invalid(
                c"drop_writes is incompatible with random_write_corrupt or corrupt_bio_byte with the WRITE flag set",
            ));
        }
        if self.error_writes && corrupts_writes {
            return Err(invalid(
                c"error_writes is incompatible with random_write_corrupt or corrupt_bio_byte with the WRITE flag set",
            ));
        }
        if self.error_reads && corrupts_reads {
            return Err(invalid(
                c"error_reads is incompatible with random_read_corrupt or corrupt_bio_byte with the READ flag set",
            ));
        }
        Ok(())
    }

    fn has_any(&self) -> bool {
        self.error_reads
            || self.drop_writes
            || self.error_writes
            || self.corruption.is_some()
            || self.random_read != 0
            || self.random_write != 0
    }

    /// How many words the features have.
    fn words(&self) -> u32 {
        let flags = [self.error_reads, self.drop_writes, self.error_writes].map(u32::from);
        let random = [self.random_read, self.random_write].map(|rate| u32::from(rate != 0) * 2);

        let corruption = u32::from(self.corruption.is_some()) * 5;

        flags.iter().sum::<u32>() + random.iter().sum::<u32>() + corruption
    }
}

impl Corruption {
    fn parse(args: &mut Args<'_>) -> CtrResult<Self> {
        let byte = args.read(1..=u32::MAX, c"Invalid corrupt bio byte")?;
        let writes = match args.next() {
            Some(word) if word.is(b"w") => true,
            Some(word) if word.is(b"r") => false,
            _ => return Err(invalid(c"Invalid corrupt bio direction (r or w)")),
        };
        let value = args.read(
            0..=255,
            c"Invalid corrupt value to write into bio byte (0-255)",
        )?;
        let flags = args.read(0..=u32::MAX, c"Invalid corrupt bio flags mask")?;

        Ok(Self {
            byte,
            writes,
            value: value as u8,
            flags,
        })
    }

    /// The byte, from 0, and its value, if a read or write with these bits is one to corrupt.
    fn of(self, writes: bool, op_and_flags: u32) -> Option<(u32, u8)> {
        let matches = self.writes == writes && op_and_flags & self.flags == self.flags;

        matches.then_some((self.byte.wrapping_sub(1), self.value))
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];

    fill_random(&mut bytes);
    bytes
}

/// A byte of `size`, and a value for it, in so many of 10^9 cases.
fn by_chance(rate: u32, size: u32) -> Option<(u32, u8)> {
    if rate == 0 {
        return None;
    }
    let drawn = u64::from_ne_bytes(random()) % u64::from(RATE_BASE);

    if drawn >= u64::from(rate) {
        return None;
    }
    let byte = u32::from_ne_bytes(random()).checked_rem(size)?;
    let [value] = random();

    Some((byte, value))
}

impl FlakeyTarget<'_> {
    fn map_sector(&self, ti: &DmTarget, sector: Sector) -> Sector {
        self.start.wrapping_add(ti.offset(sector))
    }

    fn is_down(&self) -> bool {
        // C counts in 32 bits. The sum is neither 0 nor too large, see `ctr`.
        let elapsed = Moment::now().seconds_since(self.born) as u32;

        elapsed
            .checked_rem(self.up.wrapping_add(self.down))
            .is_some_and(|second| second >= self.up)
    }

    fn map_down<'map>(&self, ti: &DmTarget, mut bio: Bio<'map, KeepsStart<bool>>) -> Mapped<'map> {
        let sector = self.map_sector(ti, bio.sector());
        let trouble = &self.trouble;
        let has_data = bio.size() != 0 && bio.op().has_data();

        **bio.data() = has_data;
        if !bio.op().is_write() {
            return match trouble.error_reads {
                true => bio.kill(),
                // Perhaps corrupted when it has completed.
                false => bio.remap(self.dev, sector),
            };
        }
        if trouble.drop_writes {
            return bio.end(Status::OK);
        }
        if trouble.error_writes {
            return bio.end(Status::IOERR);
        }
        if !has_data {
            return bio.remap(self.dev, sector);
        }
        let fixed = trouble
            .corruption
            .and_then(|c| c.of(true, bio.op_and_flags()));
        let by_chance = by_chance(trouble.random_write, bio.size());

        if fixed.is_none() && by_chance.is_none() {
            return bio.remap(self.dev, sector);
        }
        match bio.copied(self.dev, sector) {
            Ok(mut copy) => {
                for (byte, value) in [fixed, by_chance].into_iter().flatten() {
                    copy.set_byte(byte, value);
                }
                copy.submit()
            }
            // As in C, without memory the data stay as they are.
            Err(bio) => bio.remap(self.dev, sector),
        }
    }
}

#[vtable]
impl<'ti> Target<'ti> for FlakeyTarget<'ti> {
    /// Whether the data may be corrupted.
    type PerBio = KeepsStart<bool>;

    fn ctr(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Self> {
        let born = Moment::now();

        if args.len() < 4 {
            return Err(invalid(c"Invalid argument count"));
        }
        let (Some(dev), Some(start)) = (args.next(), args.next()) else {
            return Err(invalid(c"Invalid argument count"));
        };
        let start = start.sector(c"Invalid device sector")?;
        let up = args.read(0..=u32::MAX, c"Invalid up interval")?;
        let down = args.read(0..=u32::MAX, c"Invalid down interval")?;

        match up.checked_add(down) {
            Some(0) => return Err(invalid(c"Total (up + down) interval is zero")),
            // C adds first, so a sum of exactly 2^32 is zero to it.
            None if up.wrapping_add(down) == 0 => {
                return Err(invalid(c"Total (up + down) interval is zero"))
            }
            None => return Err(invalid(c"Interval overflow")),
            Some(_) => {}
        }
        let trouble = Trouble::parse(&mut args)?;
        let dev = ti.get_device(dev, c"Device lookup failed")?;

        ti.set_num_flush_bios(1);
        ti.set_num_discard_bios(1);
        Ok(FlakeyTarget {
            dev,
            start,
            born,
            up,
            down,
            trouble,
        })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        if !bio.op().is_zone_management() && self.is_down() {
            return self.map_down(ti, bio);
        }
        let sector = self.map_sector(ti, bio.sector());

        bio.remap(self.dev, sector)
    }

    fn end_io<'end>(
        &self,
        _ti: &DmTarget,
        mut bio: EndBio<'end, Self::PerBio>,
        status: Status,
    ) -> Ended<'end> {
        if status == Status::OK && **bio.data() && bio.op() == Op::READ {
            let fixed = self
                .trouble
                .corruption
                .and_then(|c| c.of(false, bio.op_and_flags()));
            let by_chance = by_chance(self.trouble.random_read, bio.original_size());

            for (byte, value) in [fixed, by_chance].into_iter().flatten() {
                bio.set_byte(byte, value);
            }
        }
        bio.done(status)
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        if kind != StatusType::Table {
            return Ok(());
        }
        let trouble = &self.trouble;

        write!(
            out,
            "{} {} {} {} {}",
            self.dev.name(),
            self.start,
            self.up,
            self.down,
            trouble.words()
        )?;
        for (is_set, name) in [
            (trouble.error_reads, " error_reads"),
            (trouble.drop_writes, " drop_writes"),
            (trouble.error_writes, " error_writes"),
        ] {
            if is_set {
                out.write_str(name)?;
            }
        }
        if let Some(c) = trouble.corruption {
            let direction = if c.writes { 'w' } else { 'r' };

            write!(
                out,
                " corrupt_bio_byte {} {direction} {} {}",
                c.byte, c.value, c.flags
            )?;
        }
        for (rate, name) in [
            (trouble.random_read, "random_read_corrupt"),
            (trouble.random_write, "random_write_corrupt"),
        ] {
            if rate != 0 {
                write!(out, " {name} {rate}")?;
            }
        }
        Ok(())
    }

    fn prepare_ioctl(&self, ti: &DmTarget, _cmd: u32, _arg: usize) -> Ioctl<'_> {
        // Only the map of a whole device may pass ioctls without further privilege.
        if self.start == 0 && ti.len() == self.dev.nr_sectors() {
            Ioctl::Forward(self.dev)
        } else {
            Ioctl::ForwardRestricted(self.dev)
        }
    }

    fn report_zones(&self, ti: &DmTarget, report: &mut ZoneReport<'_>) -> Result<u32> {
        let sector = self.map_sector(ti, report.next_sector());

        report.from_device(self.dev, self.start, sector)
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        callout.call(self.dev, self.start, ti.len())
    }
}
