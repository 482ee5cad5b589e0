// SPDX-License-Identifier: GPL-2.0

//! Registering target types with device mapper.
//!
//! Safe code cannot register anything: a `struct target_type` must stay where it is until no table
//! uses it and the module is gone. Only the module's own `init` can promise that, see
//! [`TargetList::register`].

use super::{vtable, TargetType};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{error::to_result, prelude::*, types::Opaque};

/// A target type that is registered, until this is dropped.
///
/// # Invariants
///
/// `inner` is registered with device mapper, if `is_registered`.
#[pin_data(PinnedDrop)]
pub struct Registration<T: TargetType> {
    #[pin]
    inner: Opaque<bindings::target_type>,
    is_registered: bool,
    _type: PhantomData<T>,
}

// SAFETY: It does not matter which thread unregisters a target type.
unsafe impl<T: TargetType> Send for Registration<T> {}
// SAFETY: Nothing can be done with a shared registration.
unsafe impl<T: TargetType> Sync for Registration<T> {}

impl<T: TargetType> Registration<T> {
    /// Registers `T`, if it is wanted. Mirrors `dm_register_target()`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the name is taken.
    ///
    /// # Safety
    ///
    /// The value lives in the static memory of `module`, and is dropped when the module is
    /// unloaded: not before, and not never.
    unsafe fn new(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let is_wanted = T::is_wanted();

        try_pin_init!(Self {
            inner <- Opaque::try_ffi_init(move |slot: *mut bindings::target_type| {
                // SAFETY: `slot` is ours to write to.
                unsafe { slot.write(vtable::target_type::<T>(module.as_ptr())) };
                if !is_wanted {
                    return Ok(());
                }
                // SAFETY: The target type is complete. The caller says that it stays until the
                // module is unloaded; each table that uses it holds the module.
                to_result(unsafe { bindings::dm_register_target(slot) }).inspect_err(|_| {
                    if let Some(message) = T::NAME_TAKEN {
                        super::log(super::Level::Error, T::NAME, message);
                    }
                })
            }),
            is_registered: is_wanted,
            _type: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: TargetType> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        if self.is_registered {
            // SAFETY: By the type invariants it is registered.
            unsafe { bindings::dm_unregister_target(self.inner.get()) };
        }
    }
}

/// The names of a list of target types.
pub struct Names {
    name: &'static CStr,
    rest: Option<&'static Names>,
}

/// A list of target types, `(First, (Second, ()))`. [`targets!`] writes it.
pub trait TargetList {
    /// One registration for each.
    type Registrations: Send + Sync;

    /// The name of each.
    const NAMES: Option<&'static Names>;

    /// Registers all, or none.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a name is taken.
    ///
    /// # Safety
    ///
    /// The value lives in the static memory of `module`, and is dropped when the module is
    /// unloaded: not before, and not never.
    unsafe fn register(module: &'static ThisModule) -> impl PinInit<Self::Registrations, Error>;
}

impl TargetList for () {
    type Registrations = ();
    const NAMES: Option<&'static Names> = None;

    unsafe fn register(_module: &'static ThisModule) -> impl PinInit<(), Error> {
        Ok(())
    }
}

impl<First: TargetType, Rest: TargetList> TargetList for (First, Rest) {
    type Registrations = Registered<First, Rest::Registrations>;
    const NAMES: Option<&'static Names> = Some(&Names {
        name: First::NAME,
        rest: Rest::NAMES,
    });

    unsafe fn register(module: &'static ThisModule) -> impl PinInit<Self::Registrations, Error> {
        try_pin_init!(Registered {
            // SAFETY: The caller promises the same of the whole.
            first <- unsafe { Registration::<First>::new(module) },
            // SAFETY: As above.
            rest <- unsafe { Rest::register(module) },
        })
    }
}

/// The registrations of a list.
#[pin_data]
pub struct Registered<First: TargetType, Rest> {
    #[pin]
    first: Registration<First>,
    #[pin]
    rest: Rest,
}

/// Names the targets of a module, `file::Type` each: declares the files as modules, and `All` as
/// the [`TargetList`].
macro_rules! targets {
    ($($file:ident :: $target:ident),* $(,)?) => {
        $(mod $file;)*

        /// All targets of the module.
        pub(crate) type All = $crate::dm::targets!(@list $($file::$target),*);
    };
    (@list) => { () };
    (@list $first:path $(, $rest:path)*) => { ($first, $crate::dm::targets!(@list $($rest),*)) };
}
pub(crate) use targets;

/// What `MODULE_ALIAS()` would be for each target: device mapper loads the module `dm-NAME` when a
/// table names a target that is not there.
macro_rules! module_aliases {
    ($list:ty) => {
        const _: () = {
            const NAMES: Option<&$crate::dm::Names> = <$list as $crate::dm::TargetList>::NAMES;
            const LEN: usize = $crate::dm::aliases_len(NAMES);

            // As in `module!`: what the linker is told to keep is in a section of its own, and of two
            // with this name, modpost reads one.
            #[used(compiler)]
            #[link_section = ".modinfo"]
            static ALIASES: [u8; LEN] = $crate::dm::alias_bytes(NAMES);
        };
    };
}
pub(crate) use module_aliases;

const ALIAS: &[u8] = b"alias=dm-";

/// How many bytes [`alias_bytes`] gives.
pub const fn aliases_len(mut names: Option<&Names>) -> usize {
    let mut len = 0;

    while let Some(first) = names {
        len += ALIAS.len() + first.name.to_bytes_with_nul().len();
        names = first.rest;
    }
    len
}

/// `alias=dm-NAME` and a NUL for each name.
pub const fn alias_bytes<const LEN: usize>(mut names: Option<&Names>) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let mut at = 0;

    while let Some(first) = names {
        let parts = [ALIAS, first.name.to_bytes_with_nul()];
        let mut part = 0;

        while part < parts.len() {
            let mut i = 0;
            while i < parts[part].len() {
                bytes[at] = parts[part][i];
                at += 1;
                i += 1;
            }
            part += 1;
        }
        names = first.rest;
    }
    bytes
}
