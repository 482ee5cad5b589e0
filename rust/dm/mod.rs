// SPDX-License-Identifier: GPL-2.0

//! Device mapper targets.
//!
//! Device mapper builds a block device from a *table*: a list of segments, each served by a
//! *target*. A module teaches it a new kind of target by registering a `struct target_type`, a name
//! and a set of operations. This module lets safe code do that.
//!
//! # Who owns what, and when
//!
//! - A **target type** is a type without data that implements [`TargetType`]: the name, version and
//!   features, and the type of its targets. `module!` glue registers it; it stays registered until
//!   the module is unloaded, which the kernel allows only when no table uses it.
//! - A **target** is one segment of one table: a value of [`TargetType::Target`], made by
//!   [`Target::ctr`] and dropped when the table is destroyed. All operations run on `&self`: device
//!   mapper calls [`map`](Target::map), [`end_io`](Target::end_io), [`status`](Target::status) and
//!   the others at once on several CPUs, so a target is [`Sync`].
//! - The lifetime **`'ti`** stands for the life of that target. It is a different, unknown lifetime
//!   for each target, so what carries it cannot be kept anywhere that outlives the target.
//! - A [`Device`] is opened with [`Constructor::get_device`], which gives out a `&'ti Device`. The
//!   target only ever borrows it. The abstraction closes it: after the target was dropped, or when
//!   the constructor failed. So it cannot leak from a failed constructor, nor be used or closed
//!   after the table is gone.
//! - A [`Bio`] is owned. What decides about it ([`Bio::remap`], [`Bio::end`], …) takes it by value
//!   and gives a [`Mapped`] for this very bio, the only thing that [`Target::map`] can return. A
//!   bio that was decided about can no longer be touched, and none can be forgotten.
//! - **Per-bio data** ([`Target::PerBio`]) is initialised before [`Target::map`] sees the bio, and
//!   dropped once: after [`Target::end_io`], or when the bio does not get that far.
//! - **Arguments** ([`Args`]) and the **status line** ([`StatusLine`]) live as long as the call.
//!
//! An operation that a target does not implement is NULL in its `struct target_type`: device mapper
//! tells targets apart by that.
//!
//! # Examples
//!
//! ```ignore
//! use crate::dm::prelude::*;
//!
//! struct Passthrough;
//!
//! impl TargetType for Passthrough {
//!     const NAME: &'static CStr = c"passthrough";
//!     const VERSION: [u32; 3] = [1, 0, 0];
//!     type Target<'ti> = PassthroughTarget<'ti>;
//! }
//!
//! struct PassthroughTarget<'ti>(&'ti Device);
//!
//! #[vtable]
//! impl<'ti> Target<'ti> for PassthroughTarget<'ti> {
//!     type PerBio = ();
//!
//!     fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
//!         let [dev] = args.exactly(c"Invalid argument count")?;
//!         Ok(Self(ti.get_device(dev, c"Device lookup failed")?))
//!     }
//!
//!     fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
//!         let sector = ti.offset(bio.sector());
//!         bio.remap(self.0, sector)
//!     }
//! }
//! ```
//!
//! C header: [`include/linux/device-mapper.h`](srctree/include/linux/device-mapper.h)

mod args;
mod bio;
mod buffers;
mod context;
mod copied;
mod ctr;
mod cursor;
mod dax;
mod device;
mod direct;
mod event;
mod held;
mod ioctl;
mod iterate;
mod keyring;
mod later;
mod limits;
pub(crate) mod parse;
mod per_bio;
mod queue;
mod registration;
mod request;
mod settled;
mod status;
mod target;
mod time;
mod vtable;
mod zones;

pub use self::{
    args::{Arg, Args},
    bio::{Bio, EndBio, Ended, Mapped, Op, OpFlags, Status},
    buffers::{BufferBio, Buffers, DoneBuffer, Tags},
    context::{
        cond_resched, hard_irq_or_irqs_off, is_preemptible, jiffies, log, log_text, online_cpus,
        possible_cpus, stretch, this_cpu, Level,
    },
    copied::CopiedBio,
    ctr::{Constructor, CtrError, CtrResult},
    cursor::{Cursor, CursorMut, Data},
    device::{Device, IntegrityProfile},
    direct::{Sectors, WithoutIo},
    event::TableEvent,
    held::{Fate, Held, HeldBio, HoldsBios},
    ioctl::Ioctl,
    iterate::{Callout, Stop},
    keyring::{is_as_crypt, max_request_sizes, read_key},
    later::{Agenda, DueBio, Next, PutOff, PutsOff},
    limits::QueueLimits,
    per_bio::{KeepsStart, PerBioData},
    queue::{QueueOptions, Shelf, SubmitThread, Workqueue},
    registration::{alias_bytes, aliases_len, Names, Registered, Registration, TargetList},
    request::{MappedRequest, Request},
    settled::{Gate, Settled},
    status::{StatusLine, StatusType},
    target::{DmTarget, Features, Sector, Target, TargetType},
    time::Moment,
    zones::ZoneReport,
};

pub(crate) use self::registration::{module_aliases, targets};
pub(crate) use crate::bindings::SINCE_7_3;

/// What a target needs.
pub mod prelude {
    pub use super::{
        Arg, Args, Bio, Callout, Constructor, CtrError, CtrResult, Device, DmTarget, EndBio, Ended,
        Features, Ioctl, Mapped, MappedRequest, Op, OpFlags, QueueLimits, Request, Sector, Status,
        StatusLine, StatusType, Stop, TableEvent, Target, TargetType, ZoneReport,
    };
    pub use core::{
        fmt::{self, Write as _},
        ops::ControlFlow,
    };
    pub use kernel::prelude::*;
}
