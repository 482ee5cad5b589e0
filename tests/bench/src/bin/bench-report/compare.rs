// SPDX-License-Identifier: GPL-2.0

//! Compares results with a baseline, and ours with the twins.

use crate::results::{Count, Results};
use std::fmt::Write;

/// A target may execute so much more than the baseline says, of the whole and of its own part.
const LIMIT: f64 = 0.02;

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What moved, for reading.
    pub moved: Vec<String>,
    /// What must not be.
    pub failures: Vec<String>,
    /// How many rows were compared.
    pub rows: usize,
}

/// What counts depend on, beside our own code.
const SURROUNDINGS: [&str; 3] = ["kernel", "qemu", "rustc"];

/// In what the surroundings differ.
pub fn surroundings(now: &Results, baseline: &Results) -> Vec<String> {
    let differing = SURROUNDINGS.iter().filter_map(|name| {
        let (new, old) = (now.meta.get(*name)?, baseline.meta.get(*name)?);
        (new != old).then(|| format!("{name} is {new}, and was {old}"))
    });
    differing.collect()
}

fn name(count: &Count) -> String {
    format!("{}: {}", count.target, count.row)
}

/// Fails each row of I/O where ours executes more than its twin.
pub fn with_twins(now: &Results, verdict: &mut Verdict) {
    for count in now.counts.iter().filter(|c| c.is_io()) {
        let more = count.difference();
        if more > count.noise() {
            let mut text = format!("{}: {more:.0} instructions more than the twin", name(count));
            let _ = write!(
                text,
                " ({:.0} against {:.0})",
                count.rust.value, count.c.value
            );
            verdict.failures.push(text);
        }
    }
}

/// Tells what moved since the baseline, and fails what moved too far.
///
/// The twin is the same code as before. Where it moved, what is around it did (another kernel, or
/// pages of the buffer that lie otherwise), and ours is expected to have moved by as much. In the same
/// surroundings that is little: a twin that hands its work to other threads varies by much more.
pub fn with_baseline(now: &Results, baseline: &Results, verdict: &mut Verdict) {
    let same = surroundings(now, baseline).is_empty();

    for count in &now.counts {
        let before = baseline
            .counts
            .iter()
            .find(|b| (&b.group, &b.target, &b.row) == (&count.group, &count.target, &count.row));
        let Some(before) = before else { continue };
        verdict.rows += 1;
        let mut shift = count.c.value - before.c.value;
        if same {
            let most = before.rust.value * 0.005;
            shift = shift.clamp(-most, most);
        }
        let expected = before.rust.value + shift;
        let change = count.rust.value - expected;
        let mut noise = count.noise().max(before.noise());
        if !count.is_io() {
            // What is loaded meets other free memory each time.
            noise = noise.max(expected * 0.005);
        }
        if change.abs() <= noise {
            continue;
        }
        let own = expected - before.floor.map_or(0.0, |f| f.value);
        let text = format!(
            "{}: {:.0} instructions, {change:+.0} ({:+.2} % of the whole, {:+.2} % of the target's own)",
            name(count),
            count.rust.value,
            change / expected * 100.0,
            change / own * 100.0
        );
        let too_far = change > expected * LIMIT || change - noise > own * LIMIT;
        if count.is_io() && too_far {
            verdict.failures.push(text.clone());
        }
        verdict.moved.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::tests::count;
    use dm_rust_bench::Who;
    use std::collections::BTreeMap;

    fn results(kernel: &str, floor: f64, c: f64, rust: f64) -> Results {
        let meta = BTreeMap::from([("kernel".to_owned(), kernel.to_owned())]);
        let records = [
            count("linear", "read", Who::Floor, floor),
            count("linear", "read", Who::C, c),
            count("linear", "read", Who::Rust, rust),
        ];
        Results::of(&records, meta)
    }

    fn compared(now: &Results, baseline: &Results) -> (usize, usize) {
        let mut verdict = Verdict::default();
        with_twins(now, &mut verdict);
        with_baseline(now, baseline, &mut verdict);
        assert_eq!(verdict.rows, 1);
        (verdict.moved.len(), verdict.failures.len())
    }

    #[test]
    fn noise_is_no_movement() {
        let before = results("a", 7000.0, 9000.0, 8950.0);
        assert_eq!(compared(&before, &before), (0, 0));
        assert_eq!(
            compared(&results("a", 7000.0, 9000.0, 8951.0), &before),
            (0, 0)
        );
        // Faster is told, and fine.
        assert_eq!(
            compared(&results("a", 7000.0, 9000.0, 8900.0), &before),
            (1, 0)
        );
    }

    #[test]
    fn a_slowdown_fails() {
        let before = results("a", 7000.0, 9000.0, 8700.0);
        // 3 % of the whole; then 3 % of the target's own 1 700, which is still less than the twin.
        assert_eq!(
            compared(&results("a", 7000.0, 9000.0, 8961.0), &before),
            (1, 1)
        );
        assert_eq!(
            compared(&results("a", 7000.0, 9000.0, 8751.0), &before),
            (1, 1)
        );
        assert_eq!(
            compared(&results("a", 7000.0, 9000.0, 8720.0), &before),
            (1, 0)
        );
    }

    #[test]
    fn more_than_the_twin_fails() {
        let before = results("a", 7000.0, 9000.0, 9009.0);
        assert_eq!(compared(&before, &before), (0, 1));
    }

    #[test]
    fn what_moves_the_twin_too_is_not_ours() {
        let before = results("a", 7000.0, 9000.0, 8900.0);
        let after = |rust| compared(&results("b", 7500.0, 9600.0, rust), &before);
        assert_eq!(after(9500.0), (0, 0));
        assert_eq!(after(9540.0), (1, 0));
        assert_eq!(after(9560.0), (1, 1));
    }
}
