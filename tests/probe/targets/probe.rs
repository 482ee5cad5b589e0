// SPDX-License-Identifier: GPL-2.0

//! `rust-probe`: what it keeps with each bio has a destructor.
//!
//! Table: `<start> <length> rust-probe <device>`. Status: `<made> <dropped> <bad>`. A message says
//! what is done with bios from then on: `remap`, `kill`, `end`, `fail`, `requeue`, `partial`,
//! `requeue_at_end`; with `zones_twice`, that zones are reported twice; and with `wait`, that the target
//! waits for I/O before it remaps, which it must be refused.

use super::{expect, write_counts, Token};
use crate::dm::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// What is done with bios; the place in the list is the number of it.
const WAYS: [&[u8]; 9] = [
    b"remap",
    b"kill",
    b"end",
    b"fail",
    b"requeue",
    b"partial",
    b"requeue_at_end",
    b"zones_twice",
    b"wait",
];

/// The kind of target.
pub(crate) struct Probe;

impl TargetType for Probe {
    const NAME: &'static CStr = c"rust-probe";
    const VERSION: [u32; 3] = [1, 0, 0];
    const FEATURES: Features = Features::ZONED_HM;
    type Target<'ti> = ProbeTarget<'ti>;
}

/// One segment of a table.
pub(crate) struct ProbeTarget<'ti> {
    dev: &'ti Device,
    way: Atomic<u32>,
}

impl ProbeTarget<'_> {
    fn is(&self, way: &[u8]) -> bool {
        WAYS.get(self.way.load(Relaxed) as usize) == Some(&way)
    }
}

#[vtable]
impl<'ti> Target<'ti> for ProbeTarget<'ti> {
    type PerBio = Token;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        let [dev] = args.exactly(c"Invalid argument count")?;

        Ok(ProbeTarget {
            dev: ti.get_device(dev, c"Device lookup failed")?,
            way: Atomic::new(0),
        })
    }

    fn map<'map>(&self, ti: &DmTarget, mut bio: Bio<'map, Token>) -> Mapped<'map> {
        let sector = ti.offset(bio.sector());

        bio.data().look();
        if self.is(b"kill") {
            return bio.kill();
        }
        if self.is(b"end") {
            return bio.end_zeroed();
        }
        if self.is(b"fail") {
            return bio.end(Status::MEDIUM);
        }
        if self.is(b"requeue") {
            return bio.requeue();
        }
        if self.is(b"partial") {
            bio.accept_partial(1);
        }
        if self.is(b"wait") {
            expect(self.dev.flush() == Status::INVAL);
        }
        bio.remap(self.dev, sector)
    }

    fn end_io<'end>(
        &self,
        _: &DmTarget,
        mut bio: EndBio<'end, Token>,
        status: Status,
    ) -> Ended<'end> {
        bio.data().look();
        if self.is(b"requeue_at_end") {
            return bio.requeue();
        }
        bio.done(status)
    }

    fn report_zones(&self, ti: &DmTarget, report: &mut ZoneReport<'_>) -> Result<u32> {
        let sector = ti.offset(report.next_sector());
        let count = report.from_device(self.dev, 0, sector)?;

        if self.is(b"zones_twice") {
            report.from_device(self.dev, 0, sector)?;
        }
        Ok(count)
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        callout.call(self.dev, 0, ti.len())
    }

    fn status(&self, _: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => write_counts(out),
            StatusType::Table | StatusType::Ima => out.write_str(self.dev.name()),
        }
    }

    fn message(&self, _: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        let [way] = args.exactly(c"").map_err(|_| EINVAL)?;
        let way = WAYS.iter().position(|known| *known == way.as_bytes());

        self.way.store(way.ok_or(EINVAL)? as u32, Relaxed);
        Ok(false)
    }
}
