// SPDX-License-Identifier: GPL-2.0

//! The bridge from device mapper's C calls to [`Target`]: a `struct target_type` made from the
//! trait at compile time.
//!
//! Throughout, `'static` stands for `'ti`. That is sound: a [`TargetType::Target`] implements
//! [`Target`] for every lifetime, with the same code, so no implementation can tell that the
//! lifetime is `'static`, nor use it as such.

use super::{
    ctr::Resources, per_bio, request, Args, Bio, Callout, Constructor, CtrError, DmTarget, EndBio,
    Ioctl, QueueLimits, Status, StatusLine, StatusType, Target, TargetType, ZoneReport,
};
use crate::bindings;
use core::{ops::ControlFlow, ptr::NonNull};
use kernel::{
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*,
};

/// The target of a type, for the lifetime that stands for all.
type TargetOf<T> = <T as TargetType>::Target<'static>;

/// The per-bio data of a target type.
type PerBioOf<T> = <TargetOf<T> as Target<'static>>::PerBio;

/// What `private` of a `struct dm_target` points to.
///
/// `resources` are released after `target` was dropped, see `dtr`.
#[pin_data]
struct Instance<T: TargetType> {
    #[pin]
    target: TargetOf<T>,
    resources: Resources,
}

/// The target behind `ti`.
///
/// # Safety
///
/// `ti` is a live target of type `T`: its constructor has succeeded, its destructor not begun. It
/// stays so for `'a`.
#[inline(always)]
pub(super) unsafe fn target_of<'a, T: TargetType>(
    ti: *mut bindings::dm_target,
) -> &'a T::Target<'static> {
    // SAFETY: The caller says that `ti` is valid.
    let private = unsafe { (*ti).private };
    // SAFETY: The constructor has stored an `Instance<T>` there, which only the destructor takes
    // away. It is only ever shared.
    unsafe { &(*private.cast::<Instance<T>>()).target }
}

/// The value that C has for success or an error.
fn errno_or_zero(result: Result) -> c_int {
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

/// The `struct target_type` of `T`, for the module `module`.
pub(super) const fn target_type<T: TargetType>(
    module: *mut bindings::module,
) -> bindings::target_type {
    const {
        assert!(T::NAME.count_bytes() < bindings::DM_MAX_TYPE_NAME as usize);
        assert!(T::NAME.count_bytes() > 0);
    }

    // SAFETY: All fields are numbers, pointers and optional functions, for which zero is valid.
    let mut tt: bindings::target_type = unsafe { core::mem::zeroed() };

    tt.features = T::FEATURES.bits();
    tt.name = kernel::str::as_char_ptr_in_const_context(T::NAME);
    tt.module = module;
    tt.version = T::VERSION;
    tt.ctr = Some(ctr::<T>);
    tt.dtr = Some(dtr::<T>);
    tt.map = Some(map::<T>);
    if TargetOf::<T>::HAS_MAP_REQUEST {
        tt.clone_and_map_rq = Some(request::clone_and_map::<T>);
        tt.release_clone_rq = Some(request::release_clone);
        // Device mapper calls `iterate_devices` of a wildcard without asking whether it is there.
        if TargetOf::<T>::HAS_ITERATE_DEVICES {
            tt.features |= bindings::DM_TARGET_WILDCARD as u64;
        }
    }
    if TargetOf::<T>::HAS_END_IO || core::mem::needs_drop::<PerBioOf<T>>() {
        tt.end_io = Some(end_io::<T>);
    }
    if TargetOf::<T>::HAS_PRESUSPEND {
        tt.presuspend = Some(presuspend::<T>);
    }
    if TargetOf::<T>::HAS_PRESUSPEND_UNDO {
        tt.presuspend_undo = Some(presuspend_undo::<T>);
    }
    // Both or none: what one opens the other closes.
    if TargetOf::<T>::HAS_POSTSUSPEND || TargetOf::<T>::HAS_RESUME {
        tt.postsuspend = Some(postsuspend::<T>);
        tt.resume = Some(resume::<T>);
    }
    if TargetOf::<T>::HAS_PRERESUME {
        tt.preresume = Some(preresume::<T>);
    }
    if TargetOf::<T>::HAS_STATUS {
        tt.status = Some(status::<T>);
    }
    if TargetOf::<T>::HAS_MESSAGE {
        tt.message = Some(message::<T>);
    }
    if TargetOf::<T>::HAS_PREPARE_IOCTL {
        tt.prepare_ioctl = Some(prepare_ioctl::<T>);
    }
    #[cfg(CONFIG_BLK_DEV_ZONED)]
    if TargetOf::<T>::HAS_REPORT_ZONES {
        tt.report_zones = Some(report_zones::<T>);
    }
    if TargetOf::<T>::HAS_ITERATE_DEVICES {
        tt.iterate_devices = Some(iterate_devices::<T>);
    }
    if TargetOf::<T>::HAS_IO_HINTS {
        tt.io_hints = Some(io_hints::<T>);
    }
    #[cfg(CONFIG_FS_DAX)]
    if TargetOf::<T>::HAS_DAX_MAP {
        tt.direct_access = Some(super::dax::direct_access::<T>);
        tt.dax_zero_page_range = Some(super::dax::zero_page_range::<T>);
        tt.dax_recovery_write = Some(super::dax::recovery_write::<T>);
    }
    tt
}

/// # Safety
///
/// Device mapper calls this as `ctr` of a target type made by [`target_type::<T>`](target_type):
/// `ti` is new, and the arguments live until this returns.
unsafe extern "C" fn ctr<T: TargetType>(
    ti: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
) -> c_int {
    let Some(ti) = NonNull::new(ti) else {
        return EINVAL.to_errno();
    };
    // SAFETY: The arguments are as the caller says.
    let args = unsafe { Args::from_raw(argc, argv) };
    // SAFETY: The constructor of `ti` is running. What gets the lifetime `'static` here is the
    // target, which is dropped in `dtr`, and what is dropped when the constructor fails.
    let mut constructor = unsafe { Constructor::<'static>::from_raw(ti) };

    let building = &mut constructor;
    let made = KBox::try_pin_init(
        try_pin_init!(Instance::<T> {
            target <- TargetOf::<T>::ctr(building, args),
            resources: Resources::new(),
        }? CtrError),
        GFP_KERNEL,
    );
    let resources = constructor.into_resources();

    if T::SECRET_ARGS {
        // SAFETY: The arguments are as the caller says. The constructor has returned: what it made
        // cannot borrow from them.
        unsafe { Args::wipe(argc, argv) };
    }
    match made {
        Ok(instance) => {
            // SAFETY: The box stays pinned: it is given back in `dtr`.
            let instance = KBox::into_raw(unsafe { Pin::into_inner_unchecked(instance) });

            // SAFETY: This is the only pointer to the instance. `resources` is not pinned.
            unsafe { (*instance).resources = resources };
            // SAFETY: The constructor has `ti` to itself.
            let target = unsafe { &mut *ti.as_ptr() };
            target.private = instance.cast();
            target.per_io_data_size = const { per_bio::size::<TargetOf<T>, PerBioOf<T>>() };
            0
        }
        Err(error) => {
            let message = error.message().unwrap_or(T::NO_MEMORY);

            // SAFETY: The constructor has `ti` to itself. Device mapper only reads the string.
            unsafe { (*ti.as_ptr()).error = message.as_char_ptr().cast_mut() };
            // SAFETY: There was no bio yet.
            unsafe { resources.stop() };
            // SAFETY: The constructor has failed, and what it made is dropped.
            unsafe { resources.release(ti) };
            error.errno().to_errno()
        }
    }
}

/// # Safety
///
/// Device mapper calls this once as `dtr` of a live target of type `T`, after all other calls.
unsafe extern "C" fn dtr<T: TargetType>(ti: *mut bindings::dm_target) {
    let Some(ti) = NonNull::new(ti) else {
        return;
    };
    // SAFETY: `ti` is valid, as the caller says.
    let instance = unsafe { (*ti.as_ptr()).private }.cast::<Instance<T>>();
    // SAFETY: Nobody uses the instance any more, and `resources` is not pinned.
    let resources = unsafe { core::mem::replace(&mut (*instance).resources, Resources::new()) };
    // SAFETY: Device mapper destroys a target when all its bios have completed.
    unsafe { resources.stop() };
    // SAFETY: `ctr` has made this pointer from a box, and nobody else takes it back.
    drop(unsafe { Pin::new_unchecked(KBox::from_raw(instance)) });
    // SAFETY: The destructor is running, and the target is gone with its references.
    unsafe { resources.release(ti) };
}

/// # Safety
///
/// Device mapper calls this as `map` of a live target of type `T`, with a clone that it made for
/// the target.
#[inline]
unsafe extern "C" fn map<T: TargetType>(
    ti: *mut bindings::dm_target,
    bio: *mut bindings::bio,
) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };

    // SAFETY: The bio is new to the target, which has asked for room for the data. Device mapper
    // keeps the target, which is pinned, until the bio has completed.
    unsafe { per_bio::init::<TargetOf<T>, PerBioOf<T>>(bio, target) };
    // SAFETY: Device mapper gives no null bio.
    let owned = unsafe { NonNull::new_unchecked(bio) };
    // SAFETY: The bio is the target's now, it has its data, and the value is returned below.
    let owned = unsafe { Bio::from_raw(owned) };
    let mapped = target.map(ti, owned).value();

    if core::mem::needs_drop::<PerBioOf<T>>()
        && matches!(
            mapped as u32,
            bindings::DM_MAPIO_KILL | bindings::DM_MAPIO_REQUEUE
        )
    {
        // SAFETY: `Bio::kill` and `Bio::requeue` leave the bio as it is. Device mapper frees it
        // without calling `end_io`.
        unsafe { per_bio::drop::<PerBioOf<T>>(bio) };
    }
    mapped
}

/// # Safety
///
/// Device mapper calls this as `end_io` of a live target of type `T`, with a bio that the target
/// has mapped, and its status.
unsafe extern "C" fn end_io<T: TargetType>(
    ti: *mut bindings::dm_target,
    bio: *mut bindings::bio,
    status: *mut bindings::blk_status_t,
) -> c_int {
    let mut value = bindings::DM_ENDIO_DONE as c_int;

    if TargetOf::<T>::HAS_END_IO {
        // SAFETY: `ti` is as the caller says, for the time of this call.
        let target = unsafe { target_of::<T>(ti) };
        // SAFETY: As above.
        let ti = unsafe { DmTarget::from_raw(ti) };
        // SAFETY: Device mapper gives no null bio.
        let ended = unsafe { NonNull::new_unchecked(bio) };
        // SAFETY: The bio has completed; `map` has seen it, so it has its data. The value is
        // returned below.
        let ended = unsafe { EndBio::from_raw(ended) };
        // SAFETY: The caller's pointer is valid.
        let before = Status::from_raw(unsafe { *status });
        let ended = target.end_io(ti, ended, before);

        // SAFETY: As above.
        unsafe { *status = ended.status().into_raw() };
        value = ended.value();
    }
    // SAFETY: The bio has its data. Device mapper frees it after this, or maps it as a new one.
    unsafe { per_bio::drop::<PerBioOf<T>>(bio) };
    value
}

/// Operations that are told nothing and return nothing.
macro_rules! notifications {
    ($($name:ident),*) => {
        $(
            /// # Safety
            ///
            /// Device mapper calls this as the operation of that name of a live target of type
            /// `T`.
            unsafe extern "C" fn $name<T: TargetType>(ti: *mut bindings::dm_target) {
                // SAFETY: `ti` is as the caller says, for the time of this call.
                let target = unsafe { target_of::<T>(ti) };
                // SAFETY: As above.
                target.$name(unsafe { DmTarget::from_raw(ti) });
            }
        )*
    };
}

notifications!(presuspend, presuspend_undo);

/// The resources of the target behind `ti`.
///
/// # Safety
///
/// As for [`target_of`].
unsafe fn resources_of<'a, T: TargetType>(ti: *mut bindings::dm_target) -> &'a Resources {
    // SAFETY: The caller says that `ti` is valid.
    let private = unsafe { (*ti).private };
    // SAFETY: As in `target_of`.
    unsafe { &(*private.cast::<Instance<T>>()).resources }
}

/// # Safety
///
/// Device mapper calls this as `postsuspend` of a live target of type `T`: no bio is in flight.
unsafe extern "C" fn postsuspend<T: TargetType>(ti: *mut bindings::dm_target) {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    if let Some(gate) = unsafe { resources_of::<T>(ti) }.gate() {
        // SAFETY: This is where it is to be called.
        unsafe { gate.set(true) };
    }
    if TargetOf::<T>::HAS_POSTSUSPEND {
        // SAFETY: As above.
        let target = unsafe { target_of::<T>(ti) };
        // SAFETY: As above.
        target.postsuspend(unsafe { DmTarget::from_raw(ti) });
    }
}

/// # Safety
///
/// Device mapper calls this as `resume` of a live target of type `T`, before any bio is let
/// through.
unsafe extern "C" fn resume<T: TargetType>(ti: *mut bindings::dm_target) {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    if let Some(gate) = unsafe { resources_of::<T>(ti) }.gate() {
        // SAFETY: This is where it is to be called.
        unsafe { gate.set(false) };
    }
    if TargetOf::<T>::HAS_RESUME {
        // SAFETY: As above.
        let target = unsafe { target_of::<T>(ti) };
        // SAFETY: As above.
        target.resume(unsafe { DmTarget::from_raw(ti) });
    }
}

/// # Safety
///
/// Device mapper calls this as `preresume` of a live target of type `T`.
unsafe extern "C" fn preresume<T: TargetType>(ti: *mut bindings::dm_target) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    errno_or_zero(target.preresume(unsafe { DmTarget::from_raw(ti) }))
}

/// # Safety
///
/// Device mapper calls this as `status` of a live target of type `T`, with a buffer of `maxlen`
/// bytes.
unsafe extern "C" fn status<T: TargetType>(
    ti: *mut bindings::dm_target,
    kind: bindings::status_type_t,
    flags: c_uint,
    result: *mut c_char,
    maxlen: c_uint,
) {
    // SAFETY: The buffer is as the caller says.
    let mut out = unsafe { StatusLine::from_raw(result, maxlen, flags) };
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };

    if let Some(kind) = StatusType::from_raw(kind) {
        // An error here is a formatter's own; the line ends where it was. Device mapper has no
        // way to be told.
        let _ = target.status(ti, kind, &mut out);
    }
}

/// # Safety
///
/// Device mapper calls this as `message` of a live target of type `T`, with arguments that live
/// until it returns, and a buffer of `maxlen` bytes.
unsafe extern "C" fn message<T: TargetType>(
    ti: *mut bindings::dm_target,
    argc: c_uint,
    argv: *mut *mut c_char,
    result: *mut c_char,
    maxlen: c_uint,
) -> c_int {
    // SAFETY: The arguments are as the caller says.
    let args = unsafe { Args::from_raw(argc, argv) };
    // SAFETY: The buffer is as the caller says.
    let mut reply = unsafe { StatusLine::from_raw(result, maxlen, 0) };
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };

    let handled = target.message(ti, args, &mut reply);

    if T::SECRET_ARGS {
        // SAFETY: The arguments are as the caller says, and the call that borrowed them is over.
        unsafe { Args::wipe(argc, argv) };
    }
    match handled {
        Ok(has_reply) => c_int::from(has_reply),
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Device mapper calls this as `prepare_ioctl` of a live target of type `T`; `bdev` and `forward`
/// can be written to.
unsafe extern "C" fn prepare_ioctl<T: TargetType>(
    ti: *mut bindings::dm_target,
    bdev: *mut *mut bindings::block_device,
    cmd: c_uint,
    arg: c_ulong,
    forward: *mut bool,
) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };
    let (dev, value) = match target.prepare_ioctl(ti, cmd, arg) {
        Ioctl::Forward(dev) => (dev, 0),
        Ioctl::ForwardRestricted(dev) => (dev, 1),
        Ioctl::Refuse(e) => return e.to_errno(),
        Ioctl::Handled(result) => {
            // SAFETY: The caller's pointer is valid.
            unsafe { *forward = false };
            return match result {
                Ok(value) => c_int::try_from(value).unwrap_or(c_int::MAX),
                Err(e) => e.to_errno(),
            };
        }
    };

    // SAFETY: The caller's pointer is valid. The device is open as long as the table lives, which
    // device mapper sees to until the ioctl is done.
    unsafe { *bdev = dev.bdev() };
    value
}

/// # Safety
///
/// Device mapper calls this as `report_zones` of a live target of type `T`.
#[cfg(CONFIG_BLK_DEV_ZONED)]
unsafe extern "C" fn report_zones<T: TargetType>(
    ti: *mut bindings::dm_target,
    args: *mut bindings::dm_report_zones_args,
    nr_zones: c_uint,
) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };
    // SAFETY: The report is gone when this returns.
    let mut report = unsafe { ZoneReport::from_raw(args, nr_zones) };

    match target.report_zones(ti, &mut report) {
        Ok(count) => c_int::try_from(count).unwrap_or(c_int::MAX),
        Err(e) => e.to_errno(),
    }
}

/// # Safety
///
/// Device mapper calls this as `iterate_devices` of a live target of type `T`, and `function` may
/// be called with `data`.
unsafe extern "C" fn iterate_devices<T: TargetType>(
    ti: *mut bindings::dm_target,
    function: bindings::iterate_devices_callout_fn,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };
    // SAFETY: As the caller says; the callout is gone when this returns.
    let Some(mut callout) = (unsafe { Callout::from_raw(ti, function, data) }) else {
        return 0;
    };

    match target.iterate_devices(ti, &mut callout) {
        ControlFlow::Continue(()) => 0,
        ControlFlow::Break(stop) => stop.value(),
    }
}

/// # Safety
///
/// Device mapper calls this as `io_hints` of a live target of type `T`, with limits that nobody
/// else uses.
unsafe extern "C" fn io_hints<T: TargetType>(
    ti: *mut bindings::dm_target,
    limits: *mut bindings::queue_limits,
) {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };
    // SAFETY: As the caller says.
    target.io_hints(ti, unsafe { QueueLimits::from_raw(limits) });
}
