// SPDX-License-Identifier: GPL-2.0

//! `dm-rust.ko`: device-mapper targets in safe Rust.
//!
//! - [`targets`]: the targets, a file each, without unsafe code.
//! - [`dm`]: the safe abstraction over device mapper that they stand on.
//! - [`crypto`]: the same for ciphers; [`mem`]: for the memory of both.
//! - [`bindings`]: the C items below it.

mod bindings;
pub mod crypto;
pub mod dm;
pub mod mem;
#[forbid(unsafe_code)]
mod targets;

use dm::TargetList;
use kernel::prelude::*;

module! {
    type: DmRust,
    name: "dm_rust",
    authors: ["The dm-rust authors"],
    description: "Device-mapper targets in Rust",
    license: "GPL",
}

dm::module_aliases!(targets::All);

#[pin_data]
struct DmRust {
    #[pin]
    targets: <targets::All as TargetList>::Registrations,
}

impl kernel::InPlaceModule for DmRust {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: This is the `init` of the type that `module!` names. The module's static
            // holds the registrations, and drops them when the module is unloaded.
            targets <- unsafe { targets::All::register(module) },
        })
    }
}
