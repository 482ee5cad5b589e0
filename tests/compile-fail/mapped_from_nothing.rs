// SPDX-License-Identifier: GPL-2.0

//! There is no verdict about a bio that was not decided about.

use crate::dm::prelude::*;

fn map<'map>(_bio: Bio<'map>) -> Mapped<'map> {
    Mapped { value: 1, _map: core::marker::PhantomData } //~ E0451
}
