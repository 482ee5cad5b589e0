// SPDX-License-Identifier: GPL-2.0

//! An argument does not live longer than the call that it came with.

use crate::dm::prelude::*;

struct Named<'ti> {
    name: &'ti [u8],
    dev: &'ti Device,
}

fn ctr<'ti>(ti: &mut Constructor<'ti>, args: Args<'_>) -> CtrResult<Named<'ti>> {
    let [name] = args.exactly(c"Invalid argument count")?;
    let dev = ti.get_device(name, c"Device lookup failed")?;

    Ok(Named { name: name.as_bytes(), dev }) //~ lifetime
}
