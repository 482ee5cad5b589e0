// SPDX-License-Identifier: GPL-2.0

//! `DM_TARGET_WILDCARD` promises operations: it cannot be claimed without them.

use crate::dm::prelude::*;

const FEATURES: Features = Features::WILDCARD; //~ E0599
