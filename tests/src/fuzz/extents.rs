// SPDX-License-Identifier: GPL-2.0

//! Where the data of a table are.

use crate::dm::Line;

/// A range of a lower device: its name, and sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// As the status has it.
    pub device: String,
    /// First sector.
    pub start: u64,
    /// Length in sectors.
    pub len: u64,
}

/// The ranges that a table maps, given its status lines (with in-tree names).
///
/// `None` if a line cannot be understood.
pub fn extents(status: &[Line]) -> Option<Vec<Extent>> {
    let mut extents = Vec::new();
    for line in status {
        let words: Vec<_> = line.params.split(' ').collect();
        let pairs = match line.target.as_str() {
            "linear" => &words[..],
            // Each way of `delay` may have a device of its own.
            "delay" => {
                for way in words.chunks(3) {
                    let [device, start, _] = way else { return None };
                    extents.push(Extent {
                        device: (*device).to_owned(),
                        start: start.parse().ok()?,
                        len: line.len,
                    });
                }
                continue;
            }
            "flakey" | "dust" => words.get(..2)?,
            "striped" => words.get(2..)?,
            super::CRYPT => words.get(3..5)?,
            "error" | "zero" => continue,
            _ => return None,
        };
        let len = line.len.checked_div(pairs.len() as u64 / 2)?;
        for pair in pairs.chunks(2) {
            let [device, start] = pair else { return None };
            extents.push(Extent {
                device: (*device).to_owned(),
                start: start.parse().ok()?,
                len,
            });
        }
    }
    Some(extents)
}

/// Whether two of them share sectors. What is written there by requests that are
/// on their way at once may come in any order.
pub fn overlap(extents: &[Extent]) -> bool {
    let end = |e: &Extent| u128::from(e.start) + u128::from(e.len);
    let both = |a: &Extent, b: &Extent| {
        a.device == b.device && u128::from(a.start) < end(b) && u128::from(b.start) < end(a)
    };
    extents
        .iter()
        .enumerate()
        .any(|(i, a)| extents[..i].iter().any(|b| both(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::line;

    #[test]
    fn status_lines_are_understood() {
        let table = [
            line(0, 8, "linear", "a 5"),
            line(8, 8, "zero", ""),
            line(16, 24, "striped", "3 4 a 1 b 2 a 13"),
            line(48, 8, "flakey", "d 1 2 3 0"),
            line(56, 8, "delay", "e 1 0 f 2 0"),
            line(40, 8, "crypt", "aes 00 7 c 4 1 allow_discards"),
        ];
        let found = extents(&table).unwrap();
        let found: Vec<_> = found.iter().map(|e| (&*e.device, e.start, e.len)).collect();
        assert_eq!(
            found,
            [
                ("a", 5, 8),
                ("a", 1, 8),
                ("b", 2, 8),
                ("a", 13, 8),
                ("d", 1, 8),
                ("e", 1, 8),
                ("f", 2, 8),
                ("c", 4, 8)
            ]
        );
        assert!(extents(&[line(0, 8, "linear", "a")]).is_none());
        assert!(extents(&[line(0, 8, "other", "a 0")]).is_none());
    }

    #[test]
    fn overlap_is_by_device() {
        let at = |device: &str, start| Extent {
            device: device.into(),
            start,
            len: 8,
        };
        assert!(!overlap(&[at("a", 0), at("a", 8), at("b", 4)]));
        assert!(overlap(&[at("a", 0), at("b", 0), at("a", 7)]));
        assert!(overlap(&[at("a", u64::MAX - 3), at("a", u64::MAX)]));
    }
}
