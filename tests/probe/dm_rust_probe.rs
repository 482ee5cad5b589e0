// SPDX-License-Identifier: GPL-2.0

//! `dm-rust-probe.ko`: targets that the tests need and nobody else, by the abstraction of the module
//! under test. They do with it what none of its targets does.

// Each target uses a part of it.
#![allow(dead_code, unused_imports, unused_macros)]

#[path = "../../rust/bindings/mod.rs"]
mod bindings;
#[path = "../../rust/crypto/mod.rs"]
pub mod crypto;
#[path = "../../rust/dm/mod.rs"]
pub mod dm;
#[path = "../../rust/mem/mod.rs"]
pub mod mem;
#[forbid(unsafe_code)]
mod targets;

use dm::TargetList;
use kernel::prelude::*;

module! {
    type: Probe,
    name: "dm_rust_probe",
    authors: ["The dm-rust authors"],
    description: "Device-mapper targets in Rust for tests",
    license: "GPL",
}

#[pin_data]
struct Probe {
    #[pin]
    targets: <targets::All as TargetList>::Registrations,
}

impl kernel::InPlaceModule for Probe {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: This is the `init` of the type that `module!` names. The module's static
            // holds the registrations, and drops them when the module is unloaded.
            targets <- unsafe { targets::All::register(module) },
        })
    }
}
