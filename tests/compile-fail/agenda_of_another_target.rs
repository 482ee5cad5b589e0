// SPDX-License-Identifier: GPL-2.0

//! A bio is put off with the agenda of its own target: another's may be gone before it is due.

use crate::dm::{prelude::*, Agenda, Moment, PutOff, PutsOff};

fn map<'map, 'ti, 'other, T: PutsOff<'ti, Data = ()>>(
    agenda: &'other Agenda,
    bio: Bio<'map, PutOff<'ti, T>>,
) -> Mapped<'map> {
    bio.put_off(agenda, Moment::now(), ()) //~ lifetime may not live long enough
}
