// SPDX-License-Identifier: GPL-2.0

//! `rust-dust`: a device with bad blocks, which fail to be read until they are written to.
//!
//! Table: `<start> <length> rust-dust <device> <offset> <block size>`, the offset in sectors, the
//! size of a block in bytes. Messages: `addbadblock <block> [<writes that fail>]`, `removebadblock
//! <block>`, `queryblock <block>`, `countbadblocks`, `listbadblocks`, `clearbadblocks`, `enable`,
//! `disable`, `quiet`. Blocks are counted from the start of the target; on kernels before 7.3, as
//! in-tree there, from that of the device below.
//!
//! Mirrors `drivers/md/dm-dust.c`, version 1.0.0.

use crate::dm::{log_text, prelude::*, Level, SINCE_7_3};
use core::mem;
use kernel::{
    new_spinlock,
    rbtree::{Entry, RBTree, RBTreeNodeReservation},
    sync::{
        atomic::{Atomic, Relaxed},
        SpinLock,
    },
};

/// The largest block, in sectors.
const MAX_BLOCK: Sector = 2_097_152;

/// The target type, `struct target_type dust_target` in C.
pub(crate) struct Dust;

impl TargetType for Dust {
    const NAME: &'static CStr = c"rust-dust";
    const VERSION: [u32; 3] = [1, 0, 0];
    const NO_MEMORY: &'static CStr = c"Cannot allocate context";

    type Target<'ti> = DustTarget<'ti>;
}

/// One segment of a table, `struct dust_device` in C.
#[pin_data]
pub(crate) struct DustTarget<'ti> {
    dev: &'ti Device,
    /// Where the segment starts on `dev`, in sectors.
    start: Sector,
    /// Bytes of a block, a power of two.
    block_size: u32,
    /// Sectors of a block are two to the power of this.
    block_shift: u32,
    /// Whether bad blocks fail.
    enabled: Atomic<bool>,
    quiet: Atomic<bool>,
    #[pin]
    bad: SpinLock<BadBlocks>,
}

/// The bad blocks, each with the number of writes that fail before one succeeds.
struct BadBlocks {
    blocks: RBTree<Sector, u8>,
    count: u64,
}

impl BadBlocks {
    fn new() -> Self {
        Self {
            blocks: RBTree::new(),
            count: 0,
        }
    }
}

/// Tells the kernel log, unless the target is to be quiet.
macro_rules! tell {
    ($target:expr, $level:ident, $($text:tt)*) => {
        if !$target.quiet.load(Relaxed) {
            tell!($level, $($text)*);
        }
    };
    ($level:ident, $($text:tt)*) => {
        log_text(Level::$level, c"dust", format_args!($($text)*))
    };
}

impl DustTarget<'_> {
    /// Whether a block that is to be read is bad.
    fn fails_read(&self, block: Sector) -> bool {
        self.bad.lock().blocks.get(&block).is_some()
    }

    /// Whether a write fails. One that does not makes the block good.
    fn fails_write(&self, block: Sector) -> bool {
        let mut bad = self.bad.lock();
        let Some(mut found) = bad.blocks.find_mut(&block) else {
            return false;
        };

        if let Some(left) = found.get().checked_sub(1) {
            *found.get_mut() = left;
            return true;
        }
        found.remove();
        bad.count = bad.count.wrapping_sub(1);
        // Before 7.3 C divides what is the number of a block already.
        let shown = match SINCE_7_3 {
            true => block,
            false => block >> self.block_shift,
        };

        tell!(
            self,
            Info,
            "block {shown} removed from badblocklist by write"
        );
        false
    }

    fn add(&self, block: Sector, failing_writes: u8) -> Result<bool> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL).inspect_err(|_| {
            tell!(self, Error, "dust_add_block: badblock allocation failed");
        })?;
        let mut bad = self.bad.lock();

        match bad.blocks.entry(block) {
            Entry::Occupied(_) => {
                tell!(
                    self,
                    Error,
                    "dust_add_block: block {block} already in badblocklist"
                );
                return Err(EINVAL);
            }
            Entry::Vacant(place) => place.insert(failing_writes, node),
        };
        bad.count = bad.count.wrapping_add(1);
        tell!(
            self,
            Info,
            "dust_add_block: badblock added at block {block} with write fail count {failing_writes}"
        );
        Ok(false)
    }

    fn remove(&self, block: Sector) -> Result<bool> {
        let mut bad = self.bad.lock();

        if bad.blocks.remove(&block).is_none() {
            tell!(
                self,
                Error,
                "dust_remove_block: block {block} not found in badblocklist"
            );
            return Err(EINVAL);
        }
        bad.count = bad.count.wrapping_sub(1);
        tell!(
            self,
            Info,
            "dust_remove_block: badblock removed at block {block}"
        );
        Ok(false)
    }

    fn query(&self, block: Sector, reply: &mut StatusLine<'_>) -> fmt::Result {
        let found = match self.fails_read(block) {
            true => "found",
            false => "not found",
        };

        write!(
            reply,
            "dust_query_block: block {block} {found} in badblocklist"
        )
    }

    fn list(&self, reply: &mut StatusLine<'_>) -> fmt::Result {
        let bad = self.bad.lock();

        if bad.blocks.is_empty() {
            return reply.write_str("No blocks in badblocklist");
        }
        for block in bad.blocks.keys() {
            writeln!(reply, "{block}")?;
        }
        Ok(())
    }

    fn clear(&self, reply: &mut StatusLine<'_>) -> fmt::Result {
        // Freed without the lock.
        let all = mem::replace(&mut *self.bad.lock(), BadBlocks::new());

        reply.write_str(match all.blocks.is_empty() {
            true => "dust_clear_badblocks: no badblocks found",
            false => "dust_clear_badblocks: badblocks cleared",
        })
    }

    /// A message of one word.
    fn command(&self, what: &Arg<'_>, reply: &mut StatusLine<'_>) -> Result<bool> {
        if [&b"addbadblock"[..], b"removebadblock", b"queryblock"]
            .iter()
            .any(|name| what.is(name))
        {
            tell!(Error, "{what} requires an additional argument");
            return Err(EINVAL);
        }
        if what.is(b"disable") {
            tell!(Info, "disabling read failures on bad sectors");
            self.enabled.store(false, Relaxed);
        } else if what.is(b"enable") {
            tell!(Info, "enabling read failures on bad sectors");
            self.enabled.store(true, Relaxed);
        } else if what.is(b"quiet") {
            self.quiet.store(!self.quiet.load(Relaxed), Relaxed);
        } else {
            let written = if what.is(b"countbadblocks") {
                let count = self.bad.lock().count;

                write!(reply, "countbadblocks: {count} badblock(s) found")
            } else if what.is(b"clearbadblocks") {
                self.clear(reply)
            } else if what.is(b"listbadblocks") {
                self.list(reply)
            } else {
                return unrecognized(what);
            };

            return written.map(|()| true).map_err(|_| EINVAL);
        }
        Ok(false)
    }

    /// The block that a message names, if the device has it.
    fn block(&self, ti: &DmTarget, number: &Arg<'_>) -> Result<Sector> {
        let block = number.scan_u64().ok_or(EINVAL)?;

        self.in_range(ti, block)
    }

    fn in_range(&self, ti: &DmTarget, block: Sector) -> Result<Sector> {
        let sectors = Sector::from(self.block_size >> 9);
        let is_there = match SINCE_7_3 {
            true => block < ti.len().div_ceil(sectors.max(1)),
            // As in C, one more than there are.
            false => block <= self.dev.nr_sectors() >> self.block_shift,
        };

        if !is_there {
            tell!(Error, "selected block value out of range");
            return Err(EINVAL);
        }
        Ok(block)
    }
}

fn unrecognized(what: &Arg<'_>) -> Result<bool> {
    tell!(Error, "unrecognized message '{what}' received");
    Err(EINVAL)
}

#[vtable]
impl<'ti> Target<'ti> for DustTarget<'ti> {
    type PerBio = ();

    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> impl PinInit<Self, CtrError> {
        let parameters = parse(ti, args);

        try_pin_init!(Self {
            dev: parameters?.dev,
            start: parameters?.start,
            block_size: parameters?.block_size,
            block_shift: (parameters?.block_size >> 9).trailing_zeros(),
            enabled: Atomic::new(false),
            quiet: Atomic::new(false),
            bad <- new_spinlock!(BadBlocks::new(), "dm_rust::dust"),
        }? CtrError)
    }

    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map>) -> Mapped<'map> {
        let offset = ti.offset(bio.sector());
        let sector = self.start.wrapping_add(offset);

        if self.enabled.load(Relaxed) {
            let counted = if SINCE_7_3 { offset } else { sector };
            let block = counted >> self.block_shift;
            let fails = match bio.op().is_write() {
                true => self.fails_write(block),
                false => self.fails_read(block),
            };

            if fails {
                return bio.kill();
            }
        }
        bio.remap(self.dev, sector)
    }

    fn message(&self, ti: &DmTarget, args: Args<'_>, reply: &mut StatusLine<'_>) -> Result<bool> {
        let count = args.len();
        let mut args = args;

        match (args.next(), args.next(), args.next(), args.next()) {
            (Some(what), None, ..) => self.command(&what, reply),
            (Some(what), Some(block), None, _) => {
                let block = self.block(ti, &block)?;

                if what.is(b"addbadblock") {
                    self.add(block, 0)
                } else if what.is(b"removebadblock") {
                    self.remove(block)
                } else if what.is(b"queryblock") {
                    self.query(block, reply).map(|()| true).map_err(|_| EINVAL)
                } else {
                    unrecognized(&what)
                }
            }
            (Some(what), Some(block), Some(failing), None) => {
                let block = block.scan_u64().ok_or(EINVAL)?;
                let failing = failing.scan_u32().ok_or(EINVAL)?;
                let Ok(failing) = u8::try_from(failing) else {
                    tell!(Error, "selected write fail count out of range");
                    return Err(EINVAL);
                };
                let block = self.in_range(ti, block)?;

                match what.is(b"addbadblock") {
                    true => self.add(block, failing),
                    false => unrecognized(&what),
                }
            }
            _ => {
                tell!(Error, "invalid number of arguments '{count}'");
                Err(EINVAL)
            }
        }
    }

    fn status(&self, _ti: &DmTarget, kind: StatusType, out: &mut StatusLine<'_>) -> fmt::Result {
        let dev = self.dev.name();

        match kind {
            StatusType::Info => {
                let mode = match self.enabled.load(Relaxed) {
                    true => "fail_read_on_bad_block",
                    false => "bypass",
                };
                let voice = match self.quiet.load(Relaxed) {
                    true => "quiet",
                    false => "verbose",
                };

                write!(out, "{dev} {mode} {voice}")
            }
            StatusType::Table => write!(out, "{dev} {} {}", self.start, self.block_size),
            StatusType::Ima => Ok(()),
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

    fn iterate_devices(&self, ti: &DmTarget, callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        callout.call(self.dev, self.start, ti.len())
    }
}

/// What a table says.
#[derive(Clone, Copy)]
struct Parameters<'ti> {
    dev: &'ti Device,
    start: Sector,
    block_size: u32,
}

fn parse<'ti>(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Parameters<'ti>> {
    let invalid = |message| CtrError::new(EINVAL, message);
    let [dev, start, block_size] = args.exactly(c"Invalid argument count")?;
    let block_size = block_size.kstrtouint().filter(|size| *size != 0);
    let block_size = block_size.ok_or(invalid(c"Invalid block size parameter"))?;

    if block_size < 512 {
        return Err(invalid(c"Block size must be at least 512"));
    }
    if !block_size.is_power_of_two() {
        return Err(invalid(c"Block size must be a power of 2"));
    }
    let sectors = Sector::from(block_size >> 9);

    if sectors > ti.len().min(MAX_BLOCK) {
        return Err(invalid(c"Block size is too large"));
    }
    let start = start.sector(c"Invalid device offset sector")?;
    // Whatever was wrong with the device, the errno is the same.
    let dev = ti
        .get_device(dev, c"Device lookup failed")
        .map_err(|_| invalid(c"Device lookup failed"))?;

    // No bio crosses a block.
    ti.set_max_io_len(sectors)?;
    ti.set_num_flush_bios(1);
    ti.set_num_discard_bios(1);
    Ok(Parameters {
        dev,
        start,
        block_size,
    })
}
