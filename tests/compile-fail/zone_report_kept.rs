// SPDX-License-Identifier: GPL-2.0

//! A report of zones does not live longer than the call.

use crate::dm::prelude::*;

struct Keeper<'a>(Option<&'a mut ZoneReport<'a>>);

fn report_zones<'a>(keeper: &mut Keeper<'a>, report: &mut ZoneReport<'_>) {
    keeper.0 = Some(report); //~ lifetime
}
