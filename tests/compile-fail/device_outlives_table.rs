// SPDX-License-Identifier: GPL-2.0

//! A device cannot be kept anywhere that outlives the target that opened it.

use crate::dm::prelude::*;

struct Elsewhere(Option<&'static Device>);

fn ctr<'ti>(elsewhere: &mut Elsewhere, ti: &mut Constructor<'ti>, arg: Arg<'_>) -> CtrResult {
    elsewhere.0 = Some(ti.get_device(arg, c"Device lookup failed")?); //~ E0521
    Ok(())
}
