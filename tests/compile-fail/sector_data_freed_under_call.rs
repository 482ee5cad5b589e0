// SPDX-License-Identifier: GPL-2.0

//! What a cipher works on is borrowed for the call.

use crate::{
    crypto::{Call, Direction, Request, Skcipher},
    dm::Tags,
};

fn call(request: &mut Request<'_, Skcipher>, tags: Tags<'_>) {
    let Some(segment) = tags.segment(0, 16) else {
        return;
    };
    let call = Call { transform: 0, direction: Direction::Encrypt, src: *segment, dst: segment, tag: None };

    drop(tags); //~ E0505
    let _ = request.run(&call);
}
