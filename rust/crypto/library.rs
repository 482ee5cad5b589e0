// SPDX-License-Identifier: GPL-2.0

//! What the kernel's library computes without a transform.

use crate::{
    bindings,
    mem::{MaySleep, Secret},
};
use kernel::prelude::*;

/// An AES key made ready to encrypt single blocks, `struct aes_enckey` in C.
pub struct AesSchedule(Secret);

/// Prepares an AES key.
///
/// # Errors
///
/// `EINVAL` if it is not 16, 24 or 32 bytes long.
pub fn aes_schedule(key: &[u8], sleep: MaySleep<'_>) -> Result<AesSchedule> {
    // SAFETY: Only returns a constant.
    let size = unsafe { bindings::dm_rust_helper_aes_schedule_size() };
    let mut schedule = Secret::zeroed(size, sleep)?;

    // SAFETY: The schedule has the size that C says; `kmalloc` aligns memory for any type.
    let made = unsafe {
        bindings::dm_rust_helper_aes_schedule(schedule.as_mut_ptr().cast(), key.as_ptr(), key.len())
    };
    made.then_some(AesSchedule(schedule)).ok_or(EINVAL)
}

impl AesSchedule {
    /// Encrypts one block.
    pub fn encrypt(&self, block: &[u8; 16]) -> [u8; 16] {
        let mut out = [0; 16];

        // SAFETY: The schedule was prepared; the blocks are of the right size.
        unsafe {
            bindings::dm_rust_helper_aes_encrypt(
                self.0.as_ptr().cast(),
                out.as_mut_ptr(),
                block.as_ptr(),
            )
        };
        out
    }
}

/// The state of MD5 after `seed`, `data` and `tail`, all together a number of whole blocks, without
/// the padding that would end it. Nothing if the kernel has no MD5.
pub fn md5_unpadded(seed: &[u8], data: &[u8], tail: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0; 16];

    // SAFETY: All buffers are as long as said.
    let done = unsafe {
        bindings::dm_rust_helper_md5(
            out.as_mut_ptr(),
            seed.as_ptr(),
            seed.len(),
            data.as_ptr(),
            data.len(),
            tail.as_ptr(),
            tail.len(),
        )
    };
    done.then_some(out)
}

/// Whether only what FIPS allows may be used.
pub fn fips_enabled() -> bool {
    // SAFETY: Only reads a flag.
    unsafe { bindings::dm_rust_helper_fips_enabled() }
}

/// How many bytes the hash `name` gives.
///
/// # Errors
///
/// `ENOENT` if there is none of that name, and others.
pub fn mac_size(name: &CStr, _sleep: MaySleep<'_>) -> Result<u32> {
    // SAFETY: The name is a string.
    let size = unsafe { bindings::dm_rust_helper_mac_size(name.as_char_ptr()) };

    u32::try_from(size).map_err(|_| Error::from_errno(size))
}

/// Whether an error says that data are not authentic: `EBADMSG`.
pub fn not_authentic(error: Error) -> bool {
    error.to_errno() == -(bindings::EBADMSG as i32)
}
