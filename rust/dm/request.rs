// SPDX-License-Identifier: GPL-2.0

//! Requests: what a request-based device, such as a multipath one, has in place of bios.
//!
//! A target here maps bios. That it may stand in for one that maps requests, it only has to say
//! what becomes of a request that it cannot serve, see [`Target::map_request`].

use super::{vtable::target_of, DmTarget, Target, TargetType};
use crate::bindings;
use core::marker::PhantomData;
use kernel::ffi::c_int;

#[cfg(doc)]
use super::Bio;

/// A request that [`Target::map_request`] has to decide about, by ownership like a [`Bio`].
pub struct Request<'map>(Exactly<'map>);

/// A lifetime that is neither longer nor shorter than it is: a [`MappedRequest`] cannot pass for
/// that of another request.
type Exactly<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// What was decided about the request of one call of [`Target::map_request`].
#[must_use = "`map_request` returns this"]
pub struct MappedRequest<'map> {
    value: u32,
    _map: Exactly<'map>,
}

impl<'map> Request<'map> {
    fn mapped(self, value: u32) -> MappedRequest<'map> {
        MappedRequest {
            value,
            _map: self.0,
        }
    }

    /// Fails the request with an I/O error. `DM_MAPIO_KILL` in C.
    pub fn kill(self) -> MappedRequest<'map> {
        self.mapped(bindings::DM_MAPIO_KILL)
    }

    /// Has the request sent again at once. `DM_MAPIO_REQUEUE` in C.
    pub fn requeue(self) -> MappedRequest<'map> {
        self.mapped(bindings::DM_MAPIO_REQUEUE)
    }
}

/// # Safety
///
/// Device mapper calls this as `clone_and_map_rq` of a live target of type `T`.
pub(super) unsafe extern "C" fn clone_and_map<T: TargetType>(
    ti: *mut bindings::dm_target,
    _request: *mut bindings::request,
    _context: *mut bindings::map_info,
    _clone: *mut *mut bindings::request,
) -> c_int {
    // SAFETY: `ti` is as the caller says, for the time of this call.
    let target = unsafe { target_of::<T>(ti) };
    // SAFETY: As above.
    let ti = unsafe { DmTarget::from_raw(ti) };

    // None of the values that can come of it promises a clone.
    target.map_request(ti, Request(PhantomData)).value as c_int
}

/// `release_clone_rq`, which device mapper requires beside `clone_and_map_rq`. There is no clone
/// to release.
///
/// # Safety
///
/// Any caller may call this: it does nothing.
pub(super) unsafe extern "C" fn release_clone(
    _clone: *mut bindings::request,
    _context: *mut bindings::map_info,
) {
}
