// SPDX-License-Identifier: GPL-2.0

//! Bios, by ownership.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use super::{per_bio, Device, Sector};
use crate::{bindings, mem::MaySleep};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::ffi::c_int;

/// A lifetime that is neither longer nor shorter than it is: a [`Mapped`] cannot pass for that of
/// another bio.
type Exactly<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// Part of what there is one of. Targets are in the same crate: without this they could implement
/// [`Copy`] for it, since all other fields are pointers, and with [`Bio::into_raw`], which takes it
/// out, they cannot implement [`Drop`] either.
pub(super) struct Owned;

/// A bio that [`Target::map`](super::Target::map) has to decide about.
///
/// # Invariants
///
/// `bio` is a clone that device mapper made for the target, initialised, without an error, with its
/// per-bio data of type `P`, and nobody else uses either.
pub struct Bio<'map, P = ()> {
    bio: NonNull<bindings::bio>,
    _owned: Owned,
    _map: Exactly<'map>,
    _data: PhantomData<*mut P>,
}

/// What was decided about the bio of one call of [`Target::map`](super::Target::map).
///
/// # Invariants
///
/// `value` is the `DM_MAPIO_*` that is true of the bio.
#[must_use = "`map` returns this"]
pub struct Mapped<'map> {
    value: c_int,
    _map: Exactly<'map>,
}

impl Mapped<'_> {
    fn new(value: u32) -> Self {
        Self {
            value: value as c_int,
            _map: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn value(self) -> c_int {
        self.value
    }

    /// Of a bio that the target holds.
    pub(super) fn submitted() -> Self {
        Self::new(bindings::DM_MAPIO_SUBMITTED)
    }
}

/// What can be asked of a bio whoever holds it.
macro_rules! bio_properties {
    () => {
        #[inline(always)]
        fn raw(&self) -> &bindings::bio {
            // SAFETY: By the type invariants the bio is initialised, and changed by nobody else.
            unsafe { self.bio.as_ref() }
        }

        /// What is to be done, as `bio_op()` in C.
        #[inline(always)]
        pub fn op(&self) -> Op {
            Op(self.raw().bi_opf & Op::MASK)
        }

        /// How it is to be done: the `REQ_*` flags.
        #[inline(always)]
        pub fn flags(&self) -> OpFlags {
            OpFlags(self.raw().bi_opf & !Op::MASK)
        }

        /// Operation and flags as one number, `bi_opf` in C.
        #[inline(always)]
        pub fn op_and_flags(&self) -> u32 {
            self.raw().bi_opf
        }

        /// How many bytes.
        #[inline(always)]
        pub fn size(&self) -> u32 {
            self.raw().bi_iter.bi_size
        }

        /// How many sectors.
        #[inline(always)]
        pub fn nr_sectors(&self) -> Sector {
            Sector::from(self.size() >> bindings::SECTOR_SHIFT)
        }

        /// Which of the bios this is that a flush, discard, secure erase or write-zeroes became:
        /// `dm_bio_get_target_bio_nr()` in C.
        #[inline]
        pub fn number(&self) -> u32 {
            // SAFETY: By the type invariants the bio is one of device mapper's.
            unsafe { bindings::dm_bio_get_target_bio_nr(self.bio.as_ptr()) }
        }

        pub(super) fn as_raw(&self) -> *mut bindings::bio {
            self.bio.as_ptr()
        }

        /// The target's own data of this bio.
        #[inline]
        pub fn data(&mut self) -> &mut P {
            // SAFETY: By the type invariants the data are of this type, and nobody else's.
            unsafe { per_bio::get(self.bio.as_ptr()) }
        }
    };
}

impl<'map, P> Bio<'map, P> {
    /// # Safety
    ///
    /// `bio` is as the type invariants have it, and the `map` that it was given to returns the
    /// value of the [`Mapped`] that comes of it.
    #[inline(always)]
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: As the caller says.
        Self {
            bio,
            _owned: Owned,
            _map: PhantomData,
            _data: PhantomData,
        }
    }

    bio_properties!();

    #[inline(always)]
    pub(super) fn into_raw(self) -> NonNull<bindings::bio> {
        let Self { bio, _owned, .. } = self;

        bio
    }

    /// Whoever submits I/O may sleep. (It must not wait for I/O of the same device, and a bio that is
    /// flagged so is better not waited for at all.)
    #[inline(always)]
    pub fn may_sleep(&self) -> MaySleep<'map> {
        // SAFETY: There is a bio of this type only in `map`, which device mapper calls from
        // `submit_bio()`, or in a worker: process context, with nothing locked but SRCU.
        unsafe { MaySleep::new() }
    }

    /// Takes only the first `nr_sectors` of the bio; device mapper gives the target the rest as
    /// another one. `dm_accept_partial_bio()` in C.
    ///
    /// Returns whether it did: not if the bio is not larger, if it has no data or must stay whole,
    /// or if it writes to a zoned device.
    pub fn accept_partial(&mut self, nr_sectors: u32) -> bool {
        let splits = match self.op() {
            Op::READ => true,
            // SAFETY: The bio has its device.
            Op::WRITE => !unsafe { bindings::dm_rust_helper_bdev_is_zoned(self.raw().bi_bdev) },
            _ => false,
        };

        if !splits
            || nr_sectors == 0
            || Sector::from(nr_sectors) >= self.nr_sectors()
            || self.flags().has(OpFlags::ATOMIC)
            || self.flags().has(OpFlags::PREFLUSH)
        {
            return false;
        }
        // SAFETY: The bio is one of device mapper's. It is not one of several for a flush or a
        // discard, is larger, and may be split: all that C demands.
        unsafe { bindings::dm_accept_partial_bio(self.bio.as_ptr(), nr_sectors) };
        true
    }

    #[inline(always)]
    fn raw_mut(&mut self) -> &mut bindings::bio {
        // SAFETY: By the type invariants the bio is initialised, and nobody else uses it.
        unsafe { self.bio.as_mut() }
    }

    /// Where it starts on the mapped device (not on the target, see
    /// [`DmTarget::offset`](super::DmTarget::offset)).
    #[inline(always)]
    pub fn sector(&self) -> Sector {
        self.raw().bi_iter.bi_sector
    }

    /// Sends the bio to `sector` of `dev`. `DM_MAPIO_REMAPPED` in C.
    #[inline(always)]
    pub fn remap(self, dev: &Device, sector: Sector) -> Mapped<'map> {
        // SAFETY: The bio is ours by the type invariants, and device mapper submits it next. The
        // device stays open as long as the table, which device mapper keeps while bios are in
        // flight.
        unsafe { bindings::dm_bio_remap(self.bio.as_ptr(), dev.bdev(), sector) };

        // INVARIANT: The bio has its device, and is given up.
        Mapped::new(bindings::DM_MAPIO_REMAPPED)
    }

    /// Sends the bio, cut to its first `nr_sectors`, to `sector` of `dev`: for a bio without data,
    /// which stands for a range (discard, secure erase, write-zeroes).
    ///
    /// No more than it has: a larger number changes nothing. A bio with data is failed rather than
    /// cut: nobody would read or write the rest.
    pub fn remap_part(mut self, dev: &Device, sector: Sector, nr_sectors: Sector) -> Mapped<'map> {
        if nr_sectors < self.nr_sectors() {
            if self.op().has_data() {
                return self.kill();
            }
            // Smaller than what it was, so it fits.
            self.raw_mut().bi_iter.bi_size = (nr_sectors << bindings::SECTOR_SHIFT) as u32;
        }
        self.remap(dev, sector)
    }

    /// Completes the bio with `status`. `bio_endio()` and `DM_MAPIO_SUBMITTED` in C.
    ///
    /// [`Target::end_io`](super::Target::end_io) is called for it.
    #[inline]
    pub fn end(mut self, status: Status) -> Mapped<'map> {
        // By the type invariants there is none before.
        if status.is_error() {
            self.raw_mut().bi_status = status.0;
        }
        // SAFETY: The bio is ours by the type invariants, and is given up here.
        unsafe { bindings::bio_endio(self.bio.as_ptr()) };

        // INVARIANT: The bio was completed, and is given up.
        Mapped::new(bindings::DM_MAPIO_SUBMITTED)
    }

    /// Completes the bio without error, and a read with zeroes. `zero_fill_bio()` in C.
    #[inline]
    pub fn end_zeroed(self) -> Mapped<'map> {
        if self.op() == Op::READ {
            // SAFETY: The bio is ours by the type invariants, and the pages of a read are there to
            // be written to.
            unsafe { bindings::zero_fill_bio(self.bio.as_ptr()) };
        }
        self.end(Status::OK)
    }

    /// Fails the bio with an I/O error, past [`Target::end_io`](super::Target::end_io).
    /// `DM_MAPIO_KILL` in C.
    pub fn kill(self) -> Mapped<'map> {
        // INVARIANT: The bio is as it came, and is given up.
        Mapped::new(bindings::DM_MAPIO_KILL)
    }

    /// Asks device mapper to try the bio again later, after a suspension without flush.
    /// `DM_MAPIO_REQUEUE` in C.
    pub fn requeue(self) -> Mapped<'map> {
        // INVARIANT: The bio is as it came, and is given up.
        Mapped::new(bindings::DM_MAPIO_REQUEUE)
    }
}

/// A bio that has completed, in [`Target::end_io`](super::Target::end_io).
///
/// # Invariants
///
/// As for [`Bio`].
pub struct EndBio<'end, P = ()> {
    bio: NonNull<bindings::bio>,
    _owned: Owned,
    _end: Exactly<'end>,
    _data: PhantomData<*mut P>,
}

/// What becomes of the bio of one call of [`Target::end_io`](super::Target::end_io).
#[must_use = "`end_io` returns this"]
pub struct Ended<'end> {
    value: c_int,
    status: Status,
    _end: Exactly<'end>,
}

impl Ended<'_> {
    pub(super) fn value(&self) -> c_int {
        self.value
    }

    pub(super) fn status(&self) -> Status {
        self.status
    }
}

impl<'end, P> EndBio<'end, P> {
    /// # Safety
    ///
    /// `bio` is as the type invariants have it, and the `end_io` that it was given to returns the
    /// value of the [`Ended`] that comes of it.
    pub(super) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: As the caller says.
        Self {
            bio,
            _owned: Owned,
            _end: PhantomData,
            _data: PhantomData,
        }
    }

    bio_properties!();

    /// Whether the disk that the bio went to is `dev`. (Not so if `dev` is a partition of it:
    /// mirrors `bio_dev()`, which knows disks only.)
    pub fn was_on(&self, dev: &Device) -> bool {
        // SAFETY: By the type invariants the bio is initialised, with its device.
        dev.number() == unsafe { bindings::dm_rust_helper_bio_dev(self.bio.as_ptr()) }
    }

    /// The bio is done, with `status`. `DM_ENDIO_DONE` in C.
    pub fn done(self, status: Status) -> Ended<'end> {
        Ended {
            value: bindings::DM_ENDIO_DONE as c_int,
            status,
            _end: PhantomData,
        }
    }

    /// Asks device mapper to map the bio anew, after a suspension without flush.
    /// `DM_ENDIO_REQUEUE` in C.
    pub fn requeue(self) -> Ended<'end> {
        Ended {
            value: bindings::DM_ENDIO_REQUEUE as c_int,
            status: Status::OK,
            _end: PhantomData,
        }
    }
}

/// What a bio is to do, `enum req_op` in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Op(u32);

impl Op {
    const MASK: u32 = (1 << bindings::REQ_OP_BITS) - 1;

    /// Read.
    pub const READ: Self = Self(bindings::req_op_REQ_OP_READ);
    /// Write.
    pub const WRITE: Self = Self(bindings::req_op_REQ_OP_WRITE);
    /// Flush the cache. (Device mapper's flushes are empty writes with [`OpFlags::PREFLUSH`].)
    pub const FLUSH: Self = Self(bindings::req_op_REQ_OP_FLUSH);
    /// Discard.
    pub const DISCARD: Self = Self(bindings::req_op_REQ_OP_DISCARD);
    /// Discard, and leave nothing to be read.
    pub const SECURE_ERASE: Self = Self(bindings::req_op_REQ_OP_SECURE_ERASE);
    /// Write zeroes, without data.
    pub const WRITE_ZEROES: Self = Self(bindings::req_op_REQ_OP_WRITE_ZEROES);
    /// Write at the write pointer of a zone.
    pub const ZONE_APPEND: Self = Self(bindings::req_op_REQ_OP_ZONE_APPEND);
    /// Open a zone.
    pub const ZONE_OPEN: Self = Self(bindings::req_op_REQ_OP_ZONE_OPEN);
    /// Close a zone.
    pub const ZONE_CLOSE: Self = Self(bindings::req_op_REQ_OP_ZONE_CLOSE);
    /// Make a zone full.
    pub const ZONE_FINISH: Self = Self(bindings::req_op_REQ_OP_ZONE_FINISH);
    /// Reset the write pointer of a zone.
    pub const ZONE_RESET: Self = Self(bindings::req_op_REQ_OP_ZONE_RESET);
    /// Reset all zones.
    pub const ZONE_RESET_ALL: Self = Self(bindings::req_op_REQ_OP_ZONE_RESET_ALL);

    pub(super) fn from_raw(opf: u32) -> Self {
        Self(opf & Self::MASK)
    }

    /// Whether it concerns zones as such, as `op_is_zone_mgmt()` in C.
    pub fn is_zone_management(self) -> bool {
        matches!(
            self,
            Self::ZONE_OPEN
                | Self::ZONE_CLOSE
                | Self::ZONE_FINISH
                | Self::ZONE_RESET
                | Self::ZONE_RESET_ALL
        )
    }

    /// Whether it comes with data, if it has any bytes. `bio_has_data()` in C.
    #[inline(always)]
    pub fn has_data(self) -> bool {
        !matches!(
            self,
            Self::DISCARD | Self::SECURE_ERASE | Self::WRITE_ZEROES
        )
    }

    /// Whether data go to the device, as `op_is_write()` in C.
    pub fn is_write(self) -> bool {
        self.0 & 1 != 0
    }
}

/// How a bio is to be done, `enum req_flag_bits` in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OpFlags(u32);

impl OpFlags {
    /// Flush the cache first.
    pub const PREFLUSH: Self = Self(1 << bindings::req_flag_bits___REQ_PREFLUSH);
    /// Done only when the data are on the medium.
    pub const FUA: Self = Self(1 << bindings::req_flag_bits___REQ_FUA);
    /// Someone waits for it.
    pub const SYNC: Self = Self(1 << bindings::req_flag_bits___REQ_SYNC);
    /// Read ahead: may fail at any time.
    pub const RAHEAD: Self = Self(1 << bindings::req_flag_bits___REQ_RAHEAD);
    /// Fails rather than waits.
    pub const NOWAIT: Self = Self(1 << bindings::req_flag_bits___REQ_NOWAIT);
    /// The submitter polls for its completion.
    pub const POLLED: Self = Self(1 << bindings::req_flag_bits___REQ_POLLED);
    /// Swap I/O.
    pub const SWAP: Self = Self(1 << bindings::req_flag_bits___REQ_SWAP);
    /// Written as a whole or not at all.
    pub const ATOMIC: Self = Self(1 << bindings::req_flag_bits___REQ_ATOMIC);

    pub(super) fn from_raw(opf: u32) -> Self {
        Self(opf & !Op::MASK)
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// How a bio ended, `blk_status_t` in C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status(bindings::blk_status_t);

impl Status {
    /// No error.
    pub const OK: Self = Self(bindings::BLK_STS_OK as bindings::blk_status_t);
    /// `EIO`.
    pub const IOERR: Self = Self(bindings::DM_RUST_BLK_STS_IOERR);
    /// `EOPNOTSUPP`.
    pub const NOTSUPP: Self = Self(bindings::DM_RUST_BLK_STS_NOTSUPP);
    /// `EREMOTEIO`: the device does not take this command.
    pub const TARGET: Self = Self(bindings::DM_RUST_BLK_STS_TARGET);
    /// `ENODATA`: the medium failed.
    pub const MEDIUM: Self = Self(bindings::DM_RUST_BLK_STS_MEDIUM);
    /// `EILSEQ`: the data are not what they should be.
    pub const PROTECTION: Self = Self(bindings::DM_RUST_BLK_STS_PROTECTION);
    /// `ENOMEM`.
    pub const RESOURCE: Self = Self(bindings::DM_RUST_BLK_STS_RESOURCE);
    /// `EAGAIN`: would have to wait.
    pub const AGAIN: Self = Self(bindings::DM_RUST_BLK_STS_AGAIN);
    /// `EINVAL`.
    pub const INVAL: Self = Self(bindings::DM_RUST_BLK_STS_INVAL);

    /// Whether there was an error.
    #[inline(always)]
    pub fn is_error(self) -> bool {
        self != Self::OK
    }

    pub(super) fn from_raw(status: bindings::blk_status_t) -> Self {
        Self(status)
    }

    pub(super) fn into_raw(self) -> bindings::blk_status_t {
        self.0
    }
}
