// SPDX-License-Identifier: GPL-2.0

//! The sizes that a transform claims must be true, so safe code writes none of its own.

use crate::crypto::{Skcipher, Transform};

struct Mine(Skcipher);

impl Transform for Mine {} //~ E0200
