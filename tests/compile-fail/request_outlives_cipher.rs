// SPDX-License-Identifier: GPL-2.0

//! A request cannot be kept longer than its cipher.

use crate::crypto::{Cipher, Request, Skcipher};

fn request<'a>(cipher: Cipher<Skcipher>) -> Option<Request<'a, Skcipher>> {
    cipher.request(None) //~ E0515
}
