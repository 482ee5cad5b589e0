// SPDX-License-Identifier: GPL-2.0

//! The transforms of a cipher cannot be exchanged: requests are made for these.

use crate::crypto::{Cipher, Skcipher};

fn exchange(a: &mut Cipher<Skcipher>, b: Skcipher) {
    if let Some(first) = a.transforms().first() {
        *first = b; //~ E0594
    }
}
