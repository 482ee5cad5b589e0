// SPDX-License-Identifier: GPL-2.0

//! A request may be one that waits: it stays where that is allowed.

use crate::crypto::{Request, Skcipher};

fn kept_with_a_bio<T: Send>() {}

fn data() {
    kept_with_a_bio::<Request<'static, Skcipher>>(); //~ E0277
}
