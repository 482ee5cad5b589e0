// SPDX-License-Identifier: GPL-2.0

//! Ciphers.
//!
//! - A **transform** ([`Skcipher`], [`Aead`]) is a cipher with a key. Setting the key takes it by
//!   `&mut`: no request can be under way.
//! - A [`Cipher`] is one or several transforms of one algorithm, and the memory for requests to
//!   them. It has a request at hand for each CPU, and a pool for when that is in use, so that one
//!   can always be had.
//! - A [`Request`] is the memory for one call, and the IV and the associated data of that call.
//!   [`Request::run`] returns when the call is done, whether the algorithm works at once or hands
//!   the work to a device: buffers are borrowed for the time of the call, so none is freed or
//!   given away while it is in flight.
//!
//! C headers: [`include/crypto/skcipher.h`](srctree/include/crypto/skcipher.h),
//! [`include/crypto/aead.h`](srctree/include/crypto/aead.h)

mod aead;
mod cipher;
mod library;
mod skcipher;
mod transform;

pub use self::{
    aead::Aead,
    cipher::{Call, Cipher, Request},
    library::{aes_schedule, fips_enabled, mac_size, md5_unpadded, not_authentic, AesSchedule},
    skcipher::Skcipher,
    transform::{Direction, Transform},
};
