// SPDX-License-Identifier: GPL-2.0

//! No key is changed while there is a request.

use crate::{
    crypto::{Cipher, Skcipher},
    mem::MaySleep,
};

fn change(cipher: &mut Cipher<Skcipher>, sleep: MaySleep<'_>) {
    let mut request = cipher.request(None);

    let _ = cipher.set_key(0, &[0; 32], sleep); //~ E0502
    if let Some(request) = &mut request {
        request.iv().fill(0);
    }
}
