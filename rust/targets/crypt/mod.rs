// SPDX-License-Identifier: GPL-2.0

//! `rust-crypt`: encrypts what is written to a device, and decrypts what is read.
//!
//! Table: `<start> <length> rust-crypt <cipher> <key> <IV offset> <device> <offset>
//! [<number of options> <option>...]`.
//!
//! - [`spec`]: what the cipher's specification says; [`options`]: the options; [`scan`]: numbers
//!   and keys as they are written.
//! - [`key`]: the key; [`mode`]: the ciphers that have it, and IV modes; [`iv`]: their arithmetic.
//! - [`convert`]: a bio's data, sector by sector; [`io`]: the way of a bio; [`split`]: how large
//!   one may be; [`spread`]: which ones other CPUs work on.
//! - [`ctr`]: making a target; [`status`]: what it says about itself.
//!
//! Mirrors `drivers/md/dm-crypt.c`, version 1.29.0.

mod convert;
mod ctr;
mod io;
mod iv;
mod key;
mod mode;
mod options;
mod scan;
mod spec;
mod split;
mod spread;
mod status;

use self::{key::Key, key::Shape, mode::Keyed, spread::Spread};
use crate::{
    dm::{self, prelude::*, Buffers, Held, Level, Settled, Shelf, SubmitThread, Workqueue},
    mem::{MaySleep, Pool},
};
use kernel::sync::{
    atomic::{Atomic, Relaxed},
    Mutex,
};

/// The name in the kernel log, as that of the in-tree target.
const LOG_NAME: &CStr = c"crypt";

/// The target type, `struct target_type crypt_target` in C.
pub(crate) struct Crypt;

impl TargetType for Crypt {
    const NAME: &'static CStr = c"rust-crypt";
    const VERSION: [u32; 3] = [1, 29, 0];
    const FEATURES: Features = Features::ZONED_HM.and(Features::ATOMIC_WRITES);
    const NO_MEMORY: &'static CStr = c"Cannot allocate encryption context";
    const SECRET_ARGS: bool = true;

    type Target<'ti> = CryptTarget<'ti>;
}

/// The options that matter after the constructor.
#[derive(Clone, Copy)]
struct Flags {
    allow_discards: bool,
    same_cpu_crypt: bool,
    high_priority: bool,
    submit_from_crypt_cpus: bool,
    no_read_workqueue: bool,
    no_write_workqueue: bool,
    iv_large_sectors: bool,
    /// Bytes of a tag, if there are tags.
    integrity: Option<u32>,
    integrity_key_size: Option<u32>,
}

/// One encrypted segment of a table, `struct crypt_config` in C.
pub(crate) struct CryptTarget<'ti> {
    dev: &'ti Device,
    /// Where the data start on `dev`, in sectors.
    start: Sector,
    /// What is added to a sector's number for its IV.
    iv_offset: Sector,
    /// Bytes.
    sector_size: u32,
    /// `sector_size` is 512 times two to the power of this.
    sector_shift: u32,
    options: Flags,
    /// The specification and the kind of integrity, as they were given.
    cipher_string: KVec<u8>,
    integrity_kind: KVec<u8>,
    zoned: bool,
    /// Whether the device below gains if writes come in order.
    lower_rotates: bool,
    /// Whether the device below completes bios before it returns.
    lower_is_synchronous: bool,

    key: Pin<KBox<Mutex<Key>>>,
    shape: Shape,
    keyed: Settled<'ti, Keyed>,
    key_valid: Atomic<bool>,
    suspended: Atomic<bool>,

    /// Bytes of metadata of a sector: the tag, the IV, and what is left.
    tuple_size: usize,
    integrity_tag_size: usize,
    integrity_iv_size: usize,
    tag_pool: Option<&'ti Pool>,
    /// How many sectors of 512 bytes the tags of one block of the pool are for.
    tag_pool_sectors: u32,

    spread: Spread,
    reads: &'ti Shelf,
    writes: &'ti Shelf,
    buffers: &'ti Buffers,
    io_queue: &'ti Workqueue,
    crypt_queue: &'ti Workqueue,
    thread: &'ti SubmitThread,
}

impl CryptTarget<'_> {
    fn key_message(&self, args: &[Arg<'_>], sleep: MaySleep<'_>) -> Result<bool> {
        if !self.suspended.load(Relaxed) {
            dm::log(
                Level::Warning,
                LOG_NAME,
                c"not suspended during key manipulation.",
            );
            return Err(EINVAL);
        }
        let is = |arg: &Arg<'_>, text: &[u8]| arg.as_bytes().eq_ignore_ascii_case(text);

        match args {
            [what, text] if is(what, b"set") => self.set_key(text.as_bytes(), sleep),
            [what] if is(what, b"wipe") => self.change_key(sleep, |key, keyed| {
                self.key_valid.store(false, Relaxed);
                key.wipe(&self.shape, keyed, sleep)
            }),
            _ => return unrecognised(),
        }
        .map(|()| false)
    }

    fn set_key(&self, text: &[u8], sleep: MaySleep<'_>) -> Result {
        let argument = scan::key_argument(text)
            .filter(|argument| argument.size == self.shape.size)
            .ok_or(EINVAL)?;

        self.change_key(sleep, |key, keyed| {
            key.set(&argument, &self.shape, keyed, sleep, |valid| {
                self.key_valid.store(valid, Relaxed);
            })?;
            let result = match &mut keyed.iv {
                Some(iv) => iv.set_key(&self.shape, &key.bytes, sleep),
                None => Ok(()),
            };

            if key.name.is_some() {
                key.bytes.wipe();
            }
            result
        })
    }

    fn change_key(
        &self,
        sleep: MaySleep<'_>,
        change: impl FnOnce(&mut Key, &mut Keyed) -> Result,
    ) -> Result {
        self.keyed
            .change(sleep, |keyed| change(&mut self.key.lock(), keyed))
            .ok_or(EINVAL)?
    }
}

fn unrecognised() -> Result<bool> {
    dm::log(Level::Warning, LOG_NAME, c"unrecognised message received.");
    Err(EINVAL)
}

#[vtable]
impl<'ti> Target<'ti> for CryptTarget<'ti> {
    type PerBio = Held<'ti, Self>;

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Self> {
        ctr::target(ti, args)
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map> {
        self.map_bio(ti, bio)
    }

    fn postsuspend(&self, _ti: &DmTarget) {
        self.suspended.store(true, Relaxed);
    }

    fn preresume(&self, _ti: &DmTarget) -> Result {
        if self.key_valid.load(Relaxed) {
            return Ok(());
        }
        dm::log(
            Level::Error,
            LOG_NAME,
            c"aborting resume - crypt key is not set.",
        );
        Err(EAGAIN)
    }

    fn resume(&self, _ti: &DmTarget) {
        self.suspended.store(false, Relaxed);
    }

    fn status(&self, ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        match kind {
            StatusType::Info => Ok(()),
            StatusType::Table => self.table_line(out),
            StatusType::Ima => self.ima_line(ti, out),
        }
    }

    fn message(&self, _ti: &DmTarget, args: Args<'_>, _: &mut StatusLine<'_>) -> Result<bool> {
        let mut all = [None; 4];
        let count = args.len();
        let sleep = args.may_sleep();

        for (to, arg) in all.iter_mut().zip(args) {
            *to = Some(arg);
        }
        match all {
            [Some(key), Some(a), b, None]
                if count <= 3 && key.as_bytes().eq_ignore_ascii_case(b"key") =>
            {
                match b {
                    Some(b) => self.key_message(&[a, b], sleep),
                    None => self.key_message(&[a], sleep),
                }
            }
            // Too many arguments for any: but first the device has to be suspended.
            [Some(key), Some(_), ..] if key.as_bytes().eq_ignore_ascii_case(b"key") => {
                self.key_message(&[], sleep)
            }
            _ => unrecognised(),
        }
    }

    fn report_zones(&self, ti: &DmTarget, report: &mut ZoneReport<'_>) -> Result<u32> {
        let sector = self.start.wrapping_add(ti.offset(report.next_sector()));

        report.from_device(self.dev, self.start, sector)
    }

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        callout.call(self.dev, self.start, ti.len())
    }

    fn io_hints(&self, _ti: &DmTarget, limits: &mut QueueLimits) {
        /// The most pages that one bio has, in sectors and in bytes.
        const MAX_PAGES: u32 = 256 << kernel::page::PAGE_SHIFT as u32;
        let size = self.sector_size;
        let block = limits.logical_block_size().max(size);

        limits.set_logical_block_size(block);
        limits.set_physical_block_size(limits.physical_block_size().max(size));
        limits.set_io_min(limits.io_min().max(size));
        limits.set_dma_alignment(block.wrapping_sub(1));
        // A write to zones is not split, so it must fit into one bio.
        if self.zoned {
            limits.set_max_hw_sectors(limits.max_hw_sectors().min(MAX_PAGES >> 9));
        }
        limits.set_atomic_write_hw_unit_max(limits.atomic_write_hw_unit_max().min(MAX_PAGES));
        limits.set_atomic_write_hw_max(limits.atomic_write_hw_max().min(MAX_PAGES));
    }
}
