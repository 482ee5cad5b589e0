// SPDX-License-Identifier: GPL-2.0

//! Symmetric ciphers.
//!
//! C header: [`include/crypto/skcipher.h`](srctree/include/crypto/skcipher.h)

use super::transform::{Direction, Setup, Transform, Work};
use crate::{bindings, mem::MaySleep};
use core::{mem::size_of, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    ffi::c_int,
    prelude::*,
};

/// A symmetric cipher with its key, `struct crypto_skcipher` in C.
///
/// # Invariants
///
/// `tfm` is allocated.
pub struct Skcipher {
    tfm: NonNull<bindings::crypto_skcipher>,
}

// SAFETY: A transform belongs to no thread.
unsafe impl Send for Skcipher {}
// SAFETY: Requests may run at once; the key is changed by `&mut` only.
unsafe impl Sync for Skcipher {}

impl Skcipher {
    fn raw(&self) -> &bindings::crypto_skcipher {
        // SAFETY: By the type invariants it is there; what is read does not change.
        unsafe { self.tfm.as_ref() }
    }
}

// SAFETY: The sizes are those that C computes for itself.
unsafe impl Transform for Skcipher {
    fn new(name: &CStr, _sleep: MaySleep<'_>) -> Result<Self> {
        // SAFETY: The name is a string.
        let tfm = from_err_ptr(unsafe {
            bindings::crypto_alloc_skcipher(
                name.as_char_ptr(),
                0,
                bindings::CRYPTO_ALG_ALLOCATES_MEMORY,
            )
        })?;

        // INVARIANT: It was just allocated.
        Ok(Self {
            tfm: NonNull::new(tfm).ok_or(ENOENT)?,
        })
    }

    fn set_key(&mut self, key: &[u8], _sleep: MaySleep<'_>) -> Result {
        let len = u32::try_from(key.len()).map_err(|_| EINVAL)?;

        // SAFETY: By the type invariants; nobody uses the transform, since it is borrowed mutably.
        to_result(unsafe { bindings::crypto_skcipher_setkey(self.tfm.as_ptr(), key.as_ptr(), len) })
    }

    fn tfm(&self) -> &bindings::crypto_tfm {
        &self.raw().base
    }

    fn iv_size(&self) -> usize {
        // SAFETY: By the type invariants.
        unsafe { bindings::dm_rust_helper_skcipher_ivsize(self.tfm.as_ptr()) as usize }
    }

    #[inline(always)]
    fn tag_size(&self) -> u32 {
        0
    }

    fn request_size(&self) -> usize {
        size_of::<bindings::skcipher_request>() + self.raw().reqsize as usize
    }

    unsafe fn set_up(request: *mut u8, setup: Setup) {
        // SAFETY: The caller says that this is memory for a request, and that it is ours.
        let request = unsafe { &mut *request.cast::<bindings::skcipher_request>() };

        request.iv = setup.iv;
        request.src = setup.src;
        request.base.flags = bindings::CRYPTO_TFM_REQ_MAY_BACKLOG;
    }

    #[inline(always)]
    unsafe fn prepare(&self, request: *mut u8, work: &Work) {
        let request = request.cast::<bindings::skcipher_request>();
        // SAFETY: The caller says that the request is idle, so it is ours.
        let fields = unsafe { &mut *request };

        fields.cryptlen = work.len;
        fields.dst = work.dst;
        fields.base.complete = work.complete;
        fields.base.data = work.data;
        fields.base.tfm = core::ptr::from_ref(self.tfm()).cast_mut();
    }

    #[inline(always)]
    unsafe fn repeat(request: *mut u8, direction: Direction) -> c_int {
        let request = request.cast::<bindings::skcipher_request>();

        match direction {
            // SAFETY: The request is complete; its buffers stay, as the caller says.
            Direction::Encrypt => unsafe { bindings::crypto_skcipher_encrypt(request) },
            // SAFETY: As above.
            Direction::Decrypt => unsafe { bindings::crypto_skcipher_decrypt(request) },
        }
    }
}

impl Drop for Skcipher {
    fn drop(&mut self) {
        let base = core::ptr::from_ref(self.tfm()).cast_mut();
        // SAFETY: By the type invariants it is there, and it is given up here. C wipes the key.
        unsafe { bindings::crypto_destroy_tfm(self.tfm.as_ptr().cast(), base) };
    }
}
