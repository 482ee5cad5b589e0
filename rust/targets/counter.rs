// SPDX-License-Identifier: GPL-2.0
//! `rust-counter`: passes bios to a device and counts them. An example to copy.
//!
//! Table: `<start> <length> rust-counter <device>`. Status: `<reads> <writes>`. Message: `reset`.
use crate::dm::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// The kind of target: what tables call it. A line in `mod.rs` registers it.
pub(crate) struct Counter;
impl TargetType for Counter {
    const NAME: &'static CStr = c"rust-counter";
    const VERSION: [u32; 3] = [1, 0, 0];
    type Target<'ti> = CounterTarget<'ti>;
}

/// One segment of a table. `'ti` is its life; the device is borrowed for as long.
pub(crate) struct CounterTarget<'ti> {
    dev: &'ti Device,
    /// Reads and writes. Several CPUs map bios at once, so what changes is atomic.
    counts: [Atomic<u64>; 2],
}

#[vtable]
impl<'ti> Target<'ti> for CounterTarget<'ti> {
    type PerBio = (); // Nothing is kept with each bio.

    /// Called for each line of a table. On an error the device is closed again.
    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        let [dev] = args.exactly(c"Invalid argument count")?;
        let dev = ti.get_device(dev, c"Device lookup failed")?;
        let counts = [Atomic::new(0), Atomic::new(0)];
        Ok(CounterTarget { dev, counts })
    }

    /// Called for each bio, which is given away: here to the device, at the same distance.
    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        let [reads, writes] = &self.counts;
        (if bio.op().is_write() { writes } else { reads }).add(1, Relaxed);
        let sector = ti.offset(bio.sector());
        bio.remap(self.dev, sector)
    }

    /// `dmsetup status` and `dmsetup table`.
    fn status(&self, _: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        let [reads, writes] = &self.counts;
        match kind {
            StatusType::Info => write!(out, "{} {}", reads.load(Relaxed), writes.load(Relaxed)),
            StatusType::Table | StatusType::Ima => out.write_str(self.dev.name()),
        }
    }

    /// `dmsetup message NAME 0 reset`.
    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        if !args.map(|arg| arg.as_bytes()).eq([b"reset"]) {
            return Err(EINVAL);
        }
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
        Ok(false)
    }
}
