// SPDX-License-Identifier: GPL-2.0

//! `rust-zero`: reads as zeroes, and drops what is written.
//!
//! Table: `<start> <length> rust-zero`.
//!
//! Mirrors `drivers/md/dm-zero.c`, version 1.2.0.

use crate::dm::prelude::*;

/// The target type, and each target: there is nothing to know about one.
pub(crate) struct Zero;

impl TargetType for Zero {
    const NAME: &'static CStr = c"rust-zero";
    const VERSION: [u32; 3] = [1, 2, 0];
    const FEATURES: Features = Features::NOWAIT;

    type Target<'ti> = Zero;
}

#[vtable]
impl<'ti> Target<'ti> for Zero {
    type PerBio = ();

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        let [] = args.exactly(c"No arguments required")?;

        // Discards are dropped rather than refused.
        ti.set_num_discard_bios(1);
        ti.set_discards_supported();
        Ok(Zero)
    }

    fn map<'map>(&self, _ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        if bio.op() == Op::READ {
            // Zeroes that were read ahead would only waste the page cache.
            return match bio.flags().has(OpFlags::RAHEAD) {
                true => bio.kill(),
                false => bio.end_zeroed(),
            };
        }
        match bio.op() {
            Op::WRITE | Op::DISCARD => bio.end(Status::OK),
            _ => bio.kill(),
        }
    }

    fn io_hints(&self, _ti: &DmTarget, limits: &mut QueueLimits) {
        limits.set_max_hw_discard_sectors(u32::MAX);
        limits.set_discard_granularity(512);
    }
}
