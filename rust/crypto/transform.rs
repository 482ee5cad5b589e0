// SPDX-License-Identifier: GPL-2.0

//! What the kinds of transforms have in common.

use crate::{bindings, mem::MaySleep};
use kernel::{ffi::c_int, prelude::*};

/// Which way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From plain text.
    Encrypt,
    /// To plain text.
    Decrypt,
}

/// How a request is set up once; the pointers stay as long as the request.
pub struct Setup {
    pub(super) iv: *mut u8,
    pub(super) src: *mut bindings::scatterlist,
}

/// What a request does.
pub struct Work {
    pub(super) direction: Direction,
    /// Bytes of associated data, which come first.
    pub(super) assoc: u32,
    /// Bytes of plain text, or of cipher text with its tag.
    pub(super) len: u32,
    /// Where the result goes.
    pub(super) dst: *mut bindings::scatterlist,
    pub(super) complete: bindings::crypto_completion_t,
    pub(super) data: *mut kernel::ffi::c_void,
}

/// A cipher with a key.
///
/// # Safety
///
/// The sizes are true of each request to the transform, and the functions do what they say.
pub unsafe trait Transform: Sized + Send + Sync {
    /// Finds an algorithm by name.
    ///
    /// # Errors
    ///
    /// `ENOENT` if there is none of that name, and others.
    fn new(name: &CStr, sleep: MaySleep<'_>) -> Result<Self>;

    /// Sets the key.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has the wrong size or is too weak.
    fn set_key(&mut self, key: &[u8], sleep: MaySleep<'_>) -> Result;

    /// The general part.
    fn tfm(&self) -> &bindings::crypto_tfm;

    /// Bytes of an IV.
    fn iv_size(&self) -> usize;

    /// Bytes of a tag, 0 if the cipher does not authenticate.
    fn tag_size(&self) -> u32;

    /// Bytes of memory that a request needs, aligned for any type.
    fn request_size(&self) -> usize;

    /// Bytes of a block.
    fn block_size(&self) -> u32 {
        // SAFETY: A transform holds its algorithm.
        unsafe { (*self.tfm().__crt_alg).cra_blocksize }
    }

    /// How buffers must be aligned, less one.
    fn align_mask(&self) -> usize {
        // SAFETY: A transform holds its algorithm.
        unsafe { (*self.tfm().__crt_alg).cra_alignmask as usize }
    }

    /// Whether a request may complete later than it is made.
    fn is_async(&self) -> bool {
        // SAFETY: A transform holds its algorithm.
        unsafe { (*self.tfm().__crt_alg).cra_flags & bindings::CRYPTO_ALG_ASYNC != 0 }
    }

    /// Prepares a request.
    ///
    /// # Safety
    ///
    /// `request` is memory of [`request_size`](Self::request_size) bytes, full of zeroes.
    unsafe fn set_up(request: *mut u8, setup: Setup);

    /// Starts a request, and returns what C does.
    ///
    /// # Safety
    ///
    /// `request` was prepared, for a transform of at most the same size, and is idle. What its
    /// lists hold stays until it is done.
    #[inline(always)]
    unsafe fn start(&self, request: *mut u8, work: Work) -> c_int {
        // SAFETY: As the caller says.
        unsafe { self.prepare(request, &work) };
        // SAFETY: The request was just prepared.
        unsafe { Self::repeat(request, work.direction) }
    }

    /// Fills a request.
    ///
    /// # Safety
    ///
    /// As for [`start`](Self::start).
    unsafe fn prepare(&self, request: *mut u8, work: &Work);

    /// Starts a request as it was prepared, and returns what C does.
    ///
    /// # Safety
    ///
    /// As for [`start`](Self::start), and the request was filled by [`prepare`](Self::prepare).
    unsafe fn repeat(request: *mut u8, direction: Direction) -> c_int;
}
