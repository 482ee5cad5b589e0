// SPDX-License-Identifier: GPL-2.0

//! What a target implements, and what it is told about itself.

use super::{
    per_bio::PerBioData, Args, Bio, Callout, Constructor, CtrError, Device, EndBio, Ended, Ioctl,
    Mapped, MappedRequest, QueueLimits, Request, Status, StatusLine, StatusType, Stop, ZoneReport,
};
use crate::bindings;
use core::{fmt, ops::ControlFlow};
use kernel::{error::VTABLE_DEFAULT_ERROR, prelude::*, types::Opaque};

/// A position or length in sectors of 512 bytes, `sector_t` in C.
pub type Sector = u64;

/// A kind of target that tables can name: the constant part of `struct target_type`.
pub trait TargetType: Sized + 'static {
    /// The name that tables use, at most 15 bytes (`DM_MAX_TYPE_NAME` with its NUL is 16).
    const NAME: &'static CStr;

    /// The version that `dmsetup targets` shows: major, minor, patch level.
    const VERSION: [u32; 3];

    /// What the target can do beside mapping bios.
    const FEATURES: Features = Features::NONE;

    /// Whether the arguments of tables and messages hold secrets: they are overwritten once the
    /// target has seen them.
    const SECRET_ARGS: bool = false;

    /// Whether the type is to be registered, asked when the module is loaded.
    fn is_wanted() -> bool {
        true
    }

    /// What the kernel log says when the name is taken, beside device mapper's own message.
    const NAME_TAKEN: Option<&'static CStr> = None;

    /// What the kernel log says when there is no memory for a target.
    const NO_MEMORY: &'static CStr = c"Cannot allocate target context";

    /// One target of this type in one table, alive for `'ti`.
    type Target<'ti>: Target<'ti>;
}

/// Features of a target type, the `DM_TARGET_*` flags of `struct target_type`.
///
/// `DM_TARGET_WILDCARD` is left out: it promises operations, and is set where a target has them (see
/// [`Target::map_request`]).
#[derive(Clone, Copy)]
pub struct Features(u64);

impl Features {
    /// None.
    pub const NONE: Self = Self(0);
    /// A table that has this target has no other.
    pub const SINGLETON: Self = Self(bindings::DM_TARGET_SINGLETON as u64);
    /// The target cannot be in a read-only table.
    pub const ALWAYS_WRITEABLE: Self = Self(bindings::DM_TARGET_ALWAYS_WRITEABLE as u64);
    /// A device that has this target may never have another type of target.
    pub const IMMUTABLE: Self = Self(bindings::DM_TARGET_IMMUTABLE as u64);
    /// The target has integrity data of its own.
    pub const INTEGRITY: Self = Self(bindings::DM_TARGET_INTEGRITY as u64);
    /// Integrity data go through to the lower device.
    pub const PASSES_INTEGRITY: Self = Self(bindings::DM_TARGET_PASSES_INTEGRITY as u64);
    /// Host-managed zoned devices may be below, all of the same model.
    pub const ZONED_HM: Self = Self(bindings::DM_TARGET_ZONED_HM as u64);
    /// Bios that must not wait (`REQ_NOWAIT`) are handled.
    pub const NOWAIT: Self = Self(bindings::DM_TARGET_NOWAIT as u64);
    /// Inline-encryption contexts go through to the lower device.
    pub const PASSES_CRYPTO: Self = Self(bindings::DM_TARGET_PASSES_CRYPTO as u64);
    /// Devices of different zoned models may be below.
    pub const MIXED_ZONED_MODEL: Self = Self(bindings::DM_TARGET_MIXED_ZONED_MODEL as u64);
    /// Atomic writes go through to the lower device.
    pub const ATOMIC_WRITES: Self = Self(bindings::DM_TARGET_ATOMIC_WRITES as u64);

    /// These features and `other`'s.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }
}

/// One target in one table: the operations of `struct target_type`.
///
/// An operation that is not implemented is NULL for device mapper, except [`map`](Self::map) and
/// [`ctr`](Self::ctr), which each target has. The destructor is [`Drop`].
///
/// # Context
///
/// [`map`](Self::map) runs in the context of whoever submits I/O and must not wait for I/O of the
/// same device. [`end_io`](Self::end_io) may run in hard interrupt context and must not sleep: what
/// sleeps takes a [`MaySleep`](crate::mem::MaySleep), and there is none. All other operations run in
/// process context and may sleep; [`status`](Self::status),
/// [`message`](Self::message), [`prepare_ioctl`](Self::prepare_ioctl),
/// [`iterate_devices`](Self::iterate_devices) and the DAX operations run at any time between the
/// constructor and the drop, at once with all others.
#[vtable]
pub trait Target<'ti>: Sized + Send + Sync {
    /// What the target keeps with each bio from [`map`](Self::map) to [`end_io`](Self::end_io).
    ///
    /// `()` if nothing: then it costs nothing. [`Held`](super::Held) for a target that keeps bios.
    type PerBio: PerBioData<Self> + Send;

    /// Makes the target from the arguments of its table line.
    ///
    /// The table, the start and the length of the segment are known; see [`Constructor`]. On an
    /// error all devices that were opened are closed, and the kernel log gets the message.
    ///
    /// A target that can be moved is best returned by value: an implementation may say
    /// `-> CtrResult<Self>`.
    fn ctr(ti: &mut Constructor<'ti>, args: Args<'_>) -> impl PinInit<Self, CtrError>;

    /// Decides what happens to a bio.
    ///
    /// The bio lies within the target (see [`Bio::sector`]).
    fn map<'map>(&self, ti: &DmTarget, bio: Bio<'map, Self::PerBio>) -> Mapped<'map>;

    /// Decides what happens to a request of a request-based device. Must not sleep.
    ///
    /// A target that implements this and [`iterate_devices`](Self::iterate_devices) may be put in
    /// the place of any other, of request-based ones and of those that may not be replaced as well
    /// (`DM_TARGET_WILDCARD`). It does not take part in direct access to memory.
    fn map_request<'map>(&self, _ti: &DmTarget, _request: Request<'map>) -> MappedRequest<'map> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when a bio that was remapped or ended has completed with `status`.
    ///
    /// May run in hard interrupt context.
    fn end_io<'end>(
        &self,
        _ti: &DmTarget,
        _bio: EndBio<'end, Self::PerBio>,
        _status: Status,
    ) -> Ended<'end> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is about to be suspended; I/O still runs.
    fn presuspend(&self, _ti: &DmTarget) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The suspension that [`presuspend`](Self::presuspend) announced did not come about.
    fn presuspend_undo(&self, _ti: &DmTarget) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is suspended; no I/O is in flight.
    fn postsuspend(&self, _ti: &DmTarget) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is about to be resumed, unless this fails.
    fn preresume(&self, _ti: &DmTarget) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is being resumed.
    fn resume(&self, _ti: &DmTarget) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes the status line of the given kind.
    ///
    /// What does not fit is cut off, and userspace asks again with more room; so the errors that
    /// writing gives need no more than to be passed on with `?`.
    fn status(&self, _ti: &DmTarget, _kind: StatusType, _out: &mut StatusLine<'_>) -> fmt::Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Handles a message from userspace.
    ///
    /// What is written to `reply` is returned to the sender if the result is `Ok(true)`.
    fn message(
        &self,
        _ti: &DmTarget,
        _args: Args<'_>,
        _reply: &mut StatusLine<'_>,
    ) -> Result<bool> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Says which device an ioctl on the mapped device goes to.
    fn prepare_ioctl(&self, _ti: &DmTarget, _cmd: u32, _arg: usize) -> Ioctl<'_> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Reports zones from [`ZoneReport::next_sector`] on, and returns how many.
    fn report_zones(&self, _ti: &DmTarget, _report: &mut ZoneReport<'_>) -> Result<u32> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Calls `callout` for each section of a device that the target uses, until it says
    /// [`Stop`].
    fn iterate_devices(&self, _ti: &DmTarget, _callout: &mut Callout<'_>) -> ControlFlow<Stop> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes the limits that were stacked from the target's devices.
    fn io_hints(&self, _ti: &DmTarget, _limits: &mut QueueLimits) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Says where a sector of the mapped device lies, for direct access to memory (DAX).
    ///
    /// Serves all three DAX operations of `struct target_type`.
    fn dax_map(&self, _ti: &DmTarget, _sector: Sector) -> Result<(&Device, Sector)> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// What a target is told about itself, `struct dm_target` in C.
///
/// # Invariants
///
/// A reference is only given out for a target whose constructor has succeeded or is running, and
/// only for the time of a call: `begin`, `len`, `table` and `type` are set and do not change.
#[repr(transparent)]
pub struct DmTarget(Opaque<bindings::dm_target>);

// SAFETY: The methods only read fields that do not change after the constructor.
unsafe impl Sync for DmTarget {}

impl DmTarget {
    /// # Safety
    ///
    /// `ti` is a target as the type invariants have it, for `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_raw<'a>(ti: *mut bindings::dm_target) -> &'a Self {
        // SAFETY: The caller says that `ti` is valid for `'a`; the type is transparent, and inside
        // an `Opaque` C may write to it.
        unsafe { &*ti.cast() }
    }

    #[inline(always)]
    pub(super) fn as_raw(&self) -> *mut bindings::dm_target {
        self.0.get()
    }

    /// Where the target starts on the mapped device.
    #[inline(always)]
    pub fn begin(&self) -> Sector {
        // SAFETY: By the type invariants this was set and does not change.
        unsafe { (*self.as_raw()).begin }
    }

    /// The name of the target's type, as tables have it.
    pub fn type_name(&self) -> &CStr {
        // SAFETY: By the type invariants this was set and does not change.
        let name = unsafe { (*(*self.as_raw()).type_).name };

        // SAFETY: A type that is registered has a name, which stays as long as there are targets.
        unsafe { CStr::from_char_ptr(name) }
    }

    /// How many sectors the target has.
    #[inline(always)]
    #[allow(clippy::len_without_is_empty)] // A target is never empty.
    pub fn len(&self) -> Sector {
        // SAFETY: As for `begin`.
        unsafe { (*self.as_raw()).len }
    }

    /// How far `sector` of the mapped device lies from the start of the target, as
    /// `dm_target_offset()` in C.
    #[inline(always)]
    pub fn offset(&self, sector: Sector) -> Sector {
        sector.wrapping_sub(self.begin())
    }

    /// Whether the device is suspended, as `dm_suspended()` in C.
    pub fn is_suspended(&self) -> bool {
        // SAFETY: By the type invariants the target belongs to a table, and that to a device.
        unsafe { bindings::dm_suspended(self.as_raw()) != 0 }
    }

    /// Whether the device is being suspended without waiting for I/O, as
    /// `dm_noflush_suspending()` in C.
    pub fn is_noflush_suspending(&self) -> bool {
        // SAFETY: As for `is_suspended`.
        unsafe { bindings::dm_noflush_suspending(self.as_raw()) != 0 }
    }
}
