// SPDX-License-Identifier: GPL-2.0

//! `rust-crypt` in place of `dm-crypt`, for programs that know only that name.

use super::crypt::{Crypt, CryptTarget};
use crate::dm::{self, prelude::*};

/// The same under the name of the in-tree target, if a parameter of the module says so.
pub(crate) struct StandIn;

impl TargetType for StandIn {
    const NAME: &'static CStr = c"crypt";
    const VERSION: [u32; 3] = Crypt::VERSION;
    const FEATURES: Features = Crypt::FEATURES;
    const NO_MEMORY: &'static CStr = Crypt::NO_MEMORY;
    const SECRET_ARGS: bool = Crypt::SECRET_ARGS;
    const NAME_TAKEN: Option<&'static CStr> =
        Some(c"dm-crypt is loaded: dm_rust cannot stand in for it. Unload it first.");

    type Target<'ti> = CryptTarget<'ti>;

    fn is_wanted() -> bool {
        dm::is_as_crypt()
    }
}
