// SPDX-License-Identifier: GPL-2.0

//! The words of a segment are mapped for the time of a call.

use crate::mem::SegmentMut;
use core::sync::atomic::AtomicU32;

fn words<'a>(segment: &SegmentMut<'a>) -> Option<&'a [AtomicU32]> {
    segment.with_words(|words| words) //~ lifetime
}
