// SPDX-License-Identifier: GPL-2.0

//! Two block devices compared: their limits, and what is on them.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use nix::libc::O_DIRECT;

use crate::block::Block;

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 20;
/// What data that is compared is aligned to, in bytes: the largest logical block there is.
const ALIGNMENT: usize = 4096;

/// A limit in which two devices differ. `None` where a device has no such limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitDifference {
    /// Its name in sysfs.
    pub name: String,
    /// The first device's.
    pub a: Option<String>,
    /// The second device's.
    pub b: Option<String>,
}

/// The limits in which two devices differ, by name.
pub fn limits(a: &Block, b: &Block) -> Vec<LimitDifference> {
    let mut names = a.limits();
    names.extend(b.limits());
    names.sort();
    names.dedup();
    names
        .into_iter()
        .map(|name| LimitDifference {
            a: a.limit(&name),
            b: b.limit(&name),
            name,
        })
        .filter(|difference| difference.a != difference.b)
        .collect()
}

/// Compares what is on two devices in a range of bytes, and gives the ranges that differ, in
/// units of 4096 bytes, adjoining ones as one. The page cache is passed by: what is compared is
/// what the devices themselves return. `progress` is told of each number of bytes done; if it
/// returns `false`, the comparison ends there.
///
/// # Errors
///
/// Whatever keeps a device from being opened or read.
pub fn data(
    a: &Path,
    b: &Path,
    range: Range<u64>,
    mut progress: impl FnMut(u64) -> bool,
) -> io::Result<Vec<Range<u64>>> {
    let open = |path: &Path| -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .custom_flags(O_DIRECT)
            .open(path)
    };
    let (a, b) = (open(a)?, open(b)?);
    let (mut first, mut second) = (Buffer::new(), Buffer::new());
    let mut differences = Vec::new();
    let mut at = range.start - range.start % ALIGNMENT as u64;
    while at < range.end {
        let length = usize::try_from(range.end - at).map_or(PIECE, |left| left.min(PIECE));
        let first = first.read(&a, at, length)?;
        let second = second.read(&b, at, length)?;
        for (index, (a, b)) in first
            .chunks(ALIGNMENT)
            .zip(second.chunks(ALIGNMENT))
            .enumerate()
        {
            if a != b {
                let start = at + (index * ALIGNMENT) as u64;
                add(&mut differences, start..start + a.len() as u64);
            }
        }
        at += length as u64;
        if !progress(length as u64) {
            break;
        }
    }
    Ok(differences)
}

/// Adds a range behind the others, to the last one if it adjoins.
fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    }
}

/// Memory that is aligned for direct I/O.
struct Buffer {
    bytes: Vec<u8>,
    begin: usize,
}

impl Buffer {
    fn new() -> Buffer {
        let bytes = vec![0; PIECE + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        Buffer { bytes, begin }
    }

    fn read(&mut self, file: &File, at: u64, length: usize) -> io::Result<&[u8]> {
        let bytes = &mut self.bytes[self.begin..self.begin + length];
        file.read_exact_at(bytes, at)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjoining_ranges_become_one() {
        let mut ranges = Vec::new();
        for range in [0..4, 4..8, 12..16] {
            add(&mut ranges, range);
        }
        assert_eq!(ranges, [0..8, 12..16]);
    }

    #[test]
    fn buffers_are_aligned() {
        let buffer = Buffer::new();
        assert_eq!(
            buffer.bytes[buffer.begin..].as_ptr() as usize % ALIGNMENT,
            0
        );
        assert!(buffer.bytes.len() - buffer.begin >= PIECE);
    }
}
