// SPDX-License-Identifier: GPL-2.0

//! The pages of a bio are written only if it reads: others are the submitter's.

use crate::{
    crypto::{Call, Direction, Request, Skcipher},
    dm::{HeldBio, HoldsBios},
};

fn encrypt<'ti, T: HoldsBios<'ti>>(bio: &HeldBio<'_, 'ti, T>, request: &mut Request<'_, Skcipher>) {
    let Some(src) = bio.cursor().take(512) else {
        return;
    };
    let dst = src; // What can be read.

    let _ = request.run(&Call { transform: 0, direction: Direction::Encrypt, src, dst, tag: None }); //~ E0308
}
