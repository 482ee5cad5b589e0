// SPDX-License-Identifier: GPL-2.0

//! Keys in keyrings.

use crate::{bindings, mem::MaySleep};
use kernel::prelude::*;

/// Copies the payload of the key `description` to `out`, which must be of the same size. `kind` is
/// `logon`, `user`, `encrypted` or `trusted`.
///
/// # Errors
///
/// `EINVAL` if there is no such kind or the size differs, `EKEYREVOKED`, and those of
/// `request_key()`.
pub fn read_key(_sleep: MaySleep<'_>, kind: &[u8], description: &CStr, out: &mut [u8]) -> Result {
    // SAFETY: All buffers are as long as said; the description is a string.
    let result = unsafe {
        bindings::dm_rust_helper_key(
            kind.as_ptr(),
            kind.len(),
            description.as_char_ptr(),
            out.as_mut_ptr(),
            out.len(),
        )
    };

    kernel::error::to_result(result as i32)
}

/// Whether the administrator wants the module to stand in for `dm-crypt`.
pub fn is_as_crypt() -> bool {
    // SAFETY: Only reads a parameter, which does not change.
    unsafe { bindings::dm_rust_helper_as_crypt() }
}

/// The largest sizes of requests that the administrator has set, in bytes, 0 for the default: of
/// reads and of writes.
pub fn max_request_sizes() -> (u32, u32) {
    // SAFETY: Only reads parameters.
    let read = unsafe { bindings::dm_rust_helper_max_read_size() };
    // SAFETY: As above.
    let write = unsafe { bindings::dm_rust_helper_max_write_size() };

    (read, write)
}
