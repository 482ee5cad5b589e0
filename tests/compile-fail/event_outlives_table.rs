// SPDX-License-Identifier: GPL-2.0

//! An event cannot be raised for a table that is gone.

use crate::dm::prelude::*;

struct Elsewhere(Option<&'static TableEvent>);

fn ctr<'ti>(elsewhere: &mut Elsewhere, ti: &mut Constructor<'ti>) -> CtrResult {
    elsewhere.0 = Some(ti.event()?); //~ E0521
    Ok(())
}
