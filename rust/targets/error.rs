// SPDX-License-Identifier: GPL-2.0

//! `rust-error`: fails all I/O.
//!
//! Table: `<start> <length> rust-error [<device> <offset>]`. With a device, in place of a linear
//! map of it, it has the device's limits and zones.
//!
//! Mirrors `error_target` of `drivers/md/dm-target.c`, version 1.7.0. As that one it may take the
//! place of any other target, in a request-based table too.

use crate::dm::prelude::*;

/// The target type, `struct target_type error_target` in C.
pub(crate) struct Error;

impl TargetType for Error {
    const NAME: &'static CStr = c"rust-error";
    const VERSION: [u32; 3] = [1, 7, 0];
    const FEATURES: Features = Features::ZONED_HM.and(Features::PASSES_INTEGRITY);
    const NO_MEMORY: &'static CStr = c"Cannot allocate io_err context";

    type Target<'ti> = ErrorTarget<'ti>;
}

/// One failing segment of a table, `struct io_err_c` in C.
pub(crate) struct ErrorTarget<'ti> {
    /// The device that it stands in for, and where, in sectors.
    range: Option<(&'ti Device, Sector)>,
}

#[vtable]
impl<'ti> Target<'ti> for ErrorTarget<'ti> {
    type PerBio = ();

    fn ctr(ti: &mut Constructor<'ti>, mut args: Args<'_>) -> CtrResult<Self> {
        // Any other number of arguments means no device, and is no error.
        let range = match (args.len(), args.next(), args.next()) {
            (2, Some(dev), Some(start)) => {
                let start = start.sector(c"Invalid device sector")?;

                Some((ti.get_device(dev, c"Device lookup failed")?, start))
            }
            _ => None,
        };

        // Discards get an error, not EOPNOTSUPP.
        ti.set_num_discard_bios(1);
        ti.set_discards_supported();
        Ok(ErrorTarget { range })
    }

    fn map<'map>(&self, _ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        bio.kill()
    }

    fn map_request<'map>(&self, _ti: &DmTarget, request: Request<'map>) -> MappedRequest<'map> {
        request.kill()
    }

    fn report_zones(&self, ti: &DmTarget, report: &mut ZoneReport<'_>) -> Result<u32> {
        let (dev, start) = self.range.ok_or(EIO)?;
        let sector = start.wrapping_add(ti.offset(report.next_sector()));

        report.from_device(dev, start, sector)
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        match self.range {
            Some((dev, start)) => callout.call(dev, start, ti.len()),
            None => ControlFlow::Continue(()),
        }
    }

    fn io_hints(&self, _ti: &DmTarget, limits: &mut QueueLimits) {
        limits.set_max_hw_discard_sectors(u32::MAX);
        limits.set_discard_granularity(512);
    }

    fn dax_map(&self, _ti: &DmTarget, _sector: Sector) -> Result<(&Device, Sector)> {
        Err(EIO)
    }
}
