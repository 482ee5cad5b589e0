// SPDX-License-Identifier: GPL-2.0

//! A block cannot be kept longer than its pool.

use crate::{dm::prelude::*, mem::PoolBox};

struct Elsewhere(Option<PoolBox<'static>>);

fn ctr<'ti>(elsewhere: &mut Elsewhere, ti: &mut Constructor<'ti>) -> CtrResult {
    elsewhere.0 = ti.pool(1, 512, c"No memory")?.take(None); //~ E0521
    Ok(())
}
