// SPDX-License-Identifier: GPL-2.0

//! Makes a plan smaller.

use super::{Io, Plan};

/// The smallest plan that can be found, by leaving out one thing after the
/// other, for which `fails` still holds. It is asked at most `tries` times.
pub fn shrink(plan: &Plan, tries: usize, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let mut left = tries;
    'again: loop {
        for candidate in candidates(&best) {
            if left == 0 {
                return best;
            }
            left -= 1;
            if fails(&candidate) {
                best = candidate;
                continue 'again;
            }
        }
        return best;
    }
}

/// Plans that are a little smaller, those that are smaller by much first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan {
            all.push(smaller);
        }
    };
    let operations = plan.io.len();
    let mut part = operations;
    while part > 0 {
        for start in (0..operations).step_by(part) {
            let end = (start + part).min(operations);
            add(&|p| drop(p.io.drain(start..end)));
        }
        part /= 2;
    }
    if plan.table.len() > 1 {
        for i in 0..plan.table.len() {
            add(&|p| leave_out(p, i));
            add(&|p| drop(p.table.remove(i)));
        }
    }
    add(&|p| {
        p.live = false;
        p.io.clear();
    });
    add(&|p| p.vanish = None);
    for i in 0..plan.messages.len() {
        add(&|p| drop(p.messages.remove(i)));
    }
    add(&|p| p.read_only = false);
    for (i, line) in plan.table.iter().enumerate() {
        let tokens: Vec<_> = line.params.split(' ').collect();
        for j in 0..tokens.len() {
            let mut fewer = tokens.clone();
            fewer.remove(j);
            add(&|p| p.table[i].params = fewer.join(" "));
        }
        if tokens.iter().any(|t| t.len() > 40) {
            let short = |t: &&str| t.chars().take(40).collect::<String>();
            let shorter: Vec<_> = tokens.iter().map(short).collect();
            add(&|p| p.table[i].params = shorter.join(" "));
        }
    }
    for i in 0..operations {
        for count in [1, 8] {
            add(&|p| p.io[i].count = p.io[i].count.min(count));
        }
        add(&|p| p.io[i].skew = 0);
    }
    all
}

/// Leaves out a line, and moves what comes after it.
fn leave_out(plan: &mut Plan, line: usize) {
    let gone = plan.table.remove(line);
    let behind = |io: &&mut Io| io.sector >= gone.start.saturating_add(gone.len);
    for io in plan.io.iter_mut().filter(behind) {
        io.sector -= gone.len;
    }
    let mut at = 0_u64;
    for line in &mut plan.table {
        line.start = at;
        at = at.wrapping_add(line.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dm::line;
    use crate::fuzz::{Action, Mood};

    #[test]
    fn only_what_matters_is_left() {
        let io = |sector| Io {
            action: Action::Write,
            direct: true,
            sector,
            count: 40,
            skew: 4,
        };
        let plan = Plan {
            mood: Mood::Valid,
            read_only: true,
            live: true,
            vanish: None,
            table: vec![
                line(0, 8, "linear", "{0} 5"),
                line(8, 8, "linear", "{1} 6 7"),
                line(16, 8, "error", ""),
            ],
            messages: Vec::new(),
            io: (0..20).map(io).collect(),
        };
        // A write at sector 4 of the line in the middle.
        let fails = |p: &Plan| {
            let middle = p.table.iter().find(|l| l.params.contains("{1} 6"));
            middle.is_some_and(|l| p.io.iter().any(|io| io.sector == l.start + 4))
        };
        let small = shrink(&plan, 1000, fails);
        assert_eq!(small.table, [line(0, 8, "linear", "{1} 6")]);
        let wanted = Io {
            count: 1,
            skew: 0,
            ..io(4)
        };
        assert_eq!((small.io, small.read_only), (vec![wanted], false));
        assert!(small.live);
        assert_eq!(shrink(&plan, 1000, |_| false), plan);
        assert_eq!(shrink(&plan, 0, fails), plan);
    }
}
