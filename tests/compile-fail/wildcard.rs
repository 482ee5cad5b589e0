// SPDX-License-Identifier: GPL-2.0

//! `DM_TARGET_WILDCARD` promises request-based operations, which a target here has not.

use crate::dm::prelude::*;

const FEATURES: Features = Features::WILDCARD; //~ E0599
