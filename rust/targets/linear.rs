// SPDX-License-Identifier: GPL-2.0

//! `rust-linear`: maps a range of a device, one to one.
//!
//! Table: `<start> <length> rust-linear <device> <offset>`, all in sectors.
//!
//! Mirrors `drivers/md/dm-linear.c`, version 1.5.0.

use crate::dm::prelude::*;

/// The target type, `struct target_type linear_target` in C.
pub(crate) struct Linear;

impl TargetType for Linear {
    const NAME: &'static CStr = c"rust-linear";
    const VERSION: [u32; 3] = [1, 5, 0];
    const FEATURES: Features = Features::PASSES_INTEGRITY
        .and(Features::NOWAIT)
        .and(Features::ZONED_HM)
        .and(Features::PASSES_CRYPTO)
        .and(Features::ATOMIC_WRITES);
    const NO_MEMORY: &'static CStr = c"Cannot allocate linear context";

    type Target<'ti> = LinearTarget<'ti>;
}

/// One linear segment of a table, `struct linear_c` in C.
pub(crate) struct LinearTarget<'ti> {
    dev: &'ti Device,
    /// Where the range starts on `dev`, in sectors.
    start: Sector,
}

impl LinearTarget<'_> {
    /// Where a sector of the mapped device lies on `dev`.
    fn map_sector(&self, ti: &DmTarget, sector: Sector) -> Sector {
        self.start.wrapping_add(ti.offset(sector))
    }
}

#[vtable]
impl<'ti> Target<'ti> for LinearTarget<'ti> {
    type PerBio = ();

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        let [dev, start] = args.exactly(c"Invalid argument count")?;
        let start = start.sector(c"Invalid device sector")?;
        let dev = ti.get_device(dev, c"Device lookup failed")?;

        ti.set_num_flush_bios(1);
        ti.set_num_discard_bios(1);
        ti.set_num_secure_erase_bios(1);
        ti.set_num_write_zeroes_bios(1);
        ti.set_flush_bypasses_map();
        Ok(LinearTarget { dev, start })
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        let sector = self.map_sector(ti, bio.sector());

        bio.remap(self.dev, sector)
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => Ok(()),
            StatusType::Table => write!(out, "{} {}", self.dev.name(), self.start),
            StatusType::Ima => {
                out.target_name_version::<Linear>()?;
                write!(
                    out,
                    ",device_name={},start={};",
                    self.dev.name(),
                    self.start
                )
            }
        }
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

    fn dax_map(&self, ti: &DmTarget, sector: Sector) -> Result<(&Device, Sector)> {
        Ok((self.dev, self.map_sector(ti, sector)))
    }
}
