// SPDX-License-Identifier: GPL-2.0

//! The IV cannot be looked at while a call may change it.

use crate::crypto::{Call, Request, Skcipher};

fn call(request: &mut Request<'_, Skcipher>, call: &Call<'_>) -> u8 {
    let iv = request.iv();
    let _ = request.run(call); //~ E0499

    iv.first().copied().unwrap_or(0)
}
