// SPDX-License-Identifier: GPL-2.0

//! Bytes that nobody may find in memory afterwards.

use super::MaySleep;
use crate::bindings;
use core::ops::{Deref, DerefMut};
use kernel::{alloc::AllocError, prelude::*};

/// A fixed number of bytes that are overwritten before their memory is freed.
pub struct Secret(KVec<u8>);

impl Secret {
    /// Zeroes, as many as asked for.
    pub fn zeroed(len: usize, _sleep: MaySleep<'_>) -> Result<Self, AllocError> {
        let mut bytes = KVec::new();

        // The vector has its final size from the start, so that no copy is ever left behind.
        bytes.resize(len, 0, GFP_KERNEL | __GFP_NOWARN)?;
        Ok(Self(bytes))
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8], sleep: MaySleep<'_>) -> Result<Self, AllocError> {
        let mut secret = Self::zeroed(bytes.len(), sleep)?;

        secret.copy_from_slice(bytes);
        Ok(secret)
    }

    /// Overwrites the bytes with zeroes.
    pub fn wipe(&mut self) {
        // SAFETY: The memory is ours, and as long.
        unsafe {
            bindings::dm_rust_helper_memzero_explicit(self.0.as_mut_ptr().cast(), self.0.len())
        };
    }

    /// Overwrites the bytes with noise.
    pub fn randomize(&mut self) {
        fill_random(&mut self.0);
    }
}

/// Fills a buffer with random bytes, `get_random_bytes()` in C.
pub(crate) fn fill_random(buffer: &mut [u8]) {
    // SAFETY: The buffer can be written to.
    unsafe { bindings::get_random_bytes(buffer.as_mut_ptr().cast(), buffer.len()) };
}

impl Deref for Secret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Secret {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.wipe();
    }
}
