// SPDX-License-Identifier: GPL-2.0

//! Raw bindings: what [`kernel::bindings`] has, and beside it the parts of
//! `linux/device-mapper.h` and `linux/dax.h` that it lacks.
//!
//! bindgen makes the second part when the module is built, from the headers of the kernel that it
//! is built for (see `Kbuild` and `bindgen_parameters`). Types that both know are the ones of the
//! `kernel` crate.
//!
//! Only [`dm`](crate::dm) may use this module: nothing in it is safe.

mod compat;
mod inline;

#[allow(
    clippy::all,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#[rustfmt::skip]
mod generated {
    use kernel::{bindings::*, ffi};

    include!(env!("DM_RUST_GENERATED"));
}

pub(crate) use self::{compat::*, generated::*, inline::*};
pub(crate) use kernel::bindings::*;
