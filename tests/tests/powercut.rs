// SPDX-License-Identifier: GPL-2.0

//! The parts of rust-powercut that know no kernel type, tested on the host against plain models.

use proptest::prelude::*;
use std::collections::BTreeMap;

/// Stands for the kernel's tree.
mod map {
    use std::collections::BTreeMap;
    use std::marker::PhantomData;

    pub struct Map<V>(BTreeMap<u64, V>);
    pub struct Spare<V>(PhantomData<V>);

    impl<V> Spare<V> {
        pub fn new() -> Option<Self> {
            Some(Self(PhantomData))
        }
    }

    impl<V> Map<V> {
        pub fn new() -> Self {
            Self(BTreeMap::new())
        }
        pub fn insert(&mut self, _: Spare<V>, key: u64, value: V) {
            self.0.insert(key, value);
        }
        pub fn get(&self, key: u64) -> Option<&V> {
            self.0.get(&key)
        }
        pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
            self.0.get_mut(&key)
        }
        pub fn remove(&mut self, key: u64) -> Option<V> {
            self.0.remove(&key)
        }
        pub fn from<R>(&self, key: u64, look: impl FnOnce(u64, &V) -> R) -> Option<R> {
            self.0.range(key..).next().map(|(k, v)| look(*k, v))
        }
        pub fn before<R>(&self, key: u64, look: impl FnOnce(u64, &V) -> R) -> Option<R> {
            self.0.range(..key).next_back().map(|(k, v)| look(*k, v))
        }
    }
}

#[path = "../../rust/targets/powercut/cache.rs"]
mod cache;
#[path = "../../rust/targets/powercut/chance.rs"]
mod chance;
#[path = "../../rust/targets/powercut/options.rs"]
mod options;

use cache::{Cache, Piece, Write};
use chance::{About, Chance, Fate, Latency};
use options::Options;

const SECTORS: u64 = 64;

/// What is done to a cache, and to a model of it.
#[derive(Clone, Debug)]
enum Step {
    Write(u64, u32),
    WriteBack(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SECTORS, 1..20u32).prop_map(|(start, len)| Step::Write(start, len)),
        1 => any::<u64>().prop_map(Step::WriteBack),
    ]
}

fn any_of(cache: &Cache<u64>, drawn: u64) -> Option<u64> {
    let (first, last) = (cache.first_from(0)?, cache.last()?);
    cache.first_from(first + drawn % (last - first + 1))
}

proptest! {
    /// Reading through the cache gives what a plain disk has, whatever was written back.
    #[test]
    fn the_newest_data_are_found(steps in proptest::collection::vec(step(), 1..80)) {
        let mut cache = Cache::new();
        // What is on the medium and what should be read, by sector: the number of a write.
        let mut medium = [0u64; 128];
        let mut wanted = [0u64; 128];
        let mut inside: BTreeMap<u64, (u64, u32)> = BTreeMap::new();
        for (number, step) in (1..).zip(steps) {
            match step {
                Step::Write(start, len) => {
                    let write = Write { start, len, data: number, memory: u64::from(len) };
                    prop_assert!(cache.add(number, write).is_ok());
                    inside.insert(number, (start, len));
                    wanted[start as usize..][..len as usize].fill(number);
                }
                Step::WriteBack(drawn) => {
                    let Some(number) = any_of(&cache, drawn) else { continue };
                    loop {
                        let first = cache.first_to_go(number);
                        let write = cache.remove(first).unwrap();
                        inside.remove(&first);
                        prop_assert!(first <= number);
                        for sector in write.start..write.start + u64::from(write.len) {
                            let before = &mut medium[sector as usize];
                            prop_assert!(*before < first, "an older write came after a newer one");
                            *before = write.data;
                        }
                        if first == number {
                            break;
                        }
                    }
                }
            }
            let memory: u64 = inside.values().map(|(_, len)| u64::from(*len)).sum();
            prop_assert_eq!(cache.memory(), memory);
            let mut at = 0;
            while at < 100 {
                let Piece { len, write } = cache.piece(at, 100 - at);
                prop_assert!(len > 0 && at + len <= 100);
                for sector in at..at + len {
                    let found = match write {
                        Some(number) => {
                            let write = cache.get(number).unwrap();
                            prop_assert!(write.start <= sector);
                            prop_assert!(sector < write.start + u64::from(write.len));
                            number
                        }
                        None => medium[sector as usize],
                    };
                    prop_assert_eq!(found, wanted[sector as usize], "sector {}", sector);
                }
                at += len;
            }
        }
    }

    #[test]
    fn what_is_in_the_way_is_found(steps in proptest::collection::vec((0..SECTORS, 1..20u32), 1..40),
            start in 0..SECTORS, len in 1..20u32) {
        let mut cache = Cache::new();
        for (number, (start, len)) in (0..).zip(&steps) {
            let write = Write { start: *start, len: *len, data: (), memory: 1 };
            prop_assert!(cache.add(number, write).is_ok());
        }
        while let Some(first) = cache.first_in_the_way(start, len) {
            let gone = cache.remove(first).unwrap();
            // Nothing older is left that it overlaps.
            for number in 0..first {
                if let Some(older) = cache.get(number) {
                    prop_assert!(older.start + u64::from(older.len) <= gone.start
                        || gone.start + u64::from(gone.len) <= older.start);
                }
            }
        }
        for number in 0..steps.len() as u64 {
            if let Some(left) = cache.get(number) {
                prop_assert!(left.start + u64::from(left.len) <= start
                    || start + u64::from(len) <= left.start);
            }
        }
    }

    /// A torn write has a beginning or an end, cut at a unit; with odds of zero nothing else happens.
    #[test]
    fn fates_are_as_asked_for(seed: u64, unit in 1..64u32, number: u64, start in 0..1u64 << 50,
            len in 1..2048u32, odds in prop_oneof![Just([1, 0, 0]), Just([0, 1, 0]), Just([0, 0, 1])]) {
        match Chance(seed).fate(odds, unit, 1, number, start, len) {
            Fate::Torn { from, to } => {
                prop_assert_eq!(odds, [0, 0, 1]);
                prop_assert!(from < to && to <= len && to - from < len);
                let cut = if from == 0 { to } else { from };
                prop_assert!(from == 0 || to == len);
                prop_assert_eq!((start + u64::from(cut)) % u64::from(unit), 0);
            }
            // Too small to be torn.
            Fate::Kept | Fate::Dropped if odds[2] == 1 => {
                let first = (start / u64::from(unit) + 1) * u64::from(unit);
                prop_assert!(first >= start + u64::from(len));
            }
            Fate::Kept => prop_assert_eq!(odds, [1, 0, 0]),
            Fate::Dropped => prop_assert_eq!(odds, [0, 1, 0]),
        }
    }

    #[test]
    fn latencies_stay_within_their_bounds(drawn: u64, from in 1..1000u32, span in 0..100_000u32) {
        prop_assert_eq!(Latency::Fixed(from).micros(drawn), from);
        for latency in [Latency::Uniform(from, from + span), Latency::Long(from, from + span)] {
            prop_assert!((from..=from + span).contains(&latency.micros(drawn)));
        }
    }
}

/// The decisions of a seed are part of what users keep: they may not change.
#[test]
fn decisions_are_those_of_the_seed() {
    let chance = Chance(7);
    assert_eq!(
        chance.draw(About::Fate, 1, 2),
        chance.draw(About::Fate, 1, 2)
    );
    let all: std::collections::BTreeSet<u64> = (0..100)
        .flat_map(|a| (0..10).map(move |b| (a, b)))
        .flat_map(|(a, b)| [About::Fate, About::Victim].map(|about| chance.draw(about, a, b)))
        .collect();
    assert_eq!(all.len(), 2000);
    let known: Vec<_> = (0..12)
        .map(
            |number| match chance.fate([1, 1, 1], 1, 1, number, 100, 8) {
                Fate::Kept => "k".to_owned(),
                Fate::Dropped => "d".to_owned(),
                Fate::Torn { from, to } => format!("{from}-{to}"),
            },
        )
        .collect();
    assert_eq!(known.join(" "), KNOWN_FATES);
}

#[test]
fn decisions_do_not_depend_on_each_other() {
    use About::*;
    let all = [
        Fate,
        TornAt,
        TornSide,
        Victim,
        ReadError,
        WriteError,
        FlushError,
        BadSector,
        Misdirected,
        MisdirectedTo,
        ReadLatency,
        WriteLatency,
        FlushLatency,
    ];
    let drawn: std::collections::BTreeSet<_> = all
        .iter()
        .map(|about| Chance(1).draw(*about, 2, 3))
        .collect();
    assert_eq!(drawn.len(), all.len());
}

#[test]
fn ranges_meet_where_they_share_a_sector() {
    let range = options::Range { start: 8, len: 4 };
    for (start, len, wanted) in [
        (0, 8, false),
        (0, 9, true),
        (11, 1, true),
        (12, 5, false),
        (0, u64::MAX, true),
    ] {
        assert_eq!(range.meets(start, len), wanted, "{start} {len}");
    }
}

const KNOWN_FATES: &str = "k 0-1 0-1 0-4 0-6 d d k d 5-8 k 7-8";

#[test]
fn rates_are_kept() {
    let chance = Chance(3);
    for rate in [0, 1_000_000, 100_000_000, 500_000_000, 1_000_000_000] {
        let count = (0..100_000)
            .filter(|n| chance.happens(rate, About::ReadError, *n, 0))
            .count() as i64;
        let wanted = i64::from(rate) / 10_000;
        assert!((count - wanted).abs() <= 600, "{rate}: {count}");
    }
    assert_eq!(
        (0..1000)
            .filter(|n| chance.happens(0, About::Fate, *n, 0))
            .count(),
        0
    );
    assert!((0..1000).all(|n| chance.happens(1_000_000_000, About::Fate, n, 0)));
    let fates: Vec<_> = (0..9000)
        .map(|n| chance.fate([1, 1, 1], 1, 1, n, 0, 8))
        .collect();
    for counted in [Fate::Kept, Fate::Dropped] {
        let count = fates.iter().filter(|fate| **fate == counted).count();
        assert!((2700..3300).contains(&count), "{counted:?}: {count}");
    }
    // Most are short, some are long.
    let latencies: Vec<_> = (0..10_000)
        .map(|n| Latency::Long(100, 1_000_000).micros(chance.draw(About::ReadLatency, n, 0)))
        .collect();
    assert!((4000..6000).contains(&latencies.iter().filter(|l| **l < 200).count()));
    assert!(latencies.iter().any(|l| *l > 50_000));
}

fn parse(text: &str) -> Result<Options, String> {
    let words: Vec<_> = text.split_whitespace().collect();
    Options::parse(words.iter().map(|word| word.as_bytes()))
        .map_err(|e| e.to_str().unwrap().to_owned())
}

#[test]
fn options_are_written_as_they_are_read() {
    for text in [
        "",
        "seed 18446744073709551615",
        "seed 1 cache 0 unit 8 odds 0 2 4294967295 lying",
        "error r 1 0 8 error w 1000000000 5 18446744073709551610 bad 1 2 bad 3 4",
        "bad_rate 5 misdirect 6 latency r fixed 0 latency w uniform 1 2 latency f long 3 4",
    ] {
        let mut out = String::new();
        parse(text).unwrap().write(&mut out).unwrap();
        let count = text.split_whitespace().count();
        let wanted = if count == 0 {
            String::new()
        } else {
            format!(" {count} {text}")
        };
        assert_eq!(out, wanted);
    }
    // What is as by default is left out.
    let mut out = String::new();
    parse("seed 0 cache 8388608 unit 1 odds 1 1 1")
        .unwrap()
        .write(&mut out)
        .unwrap();
    assert_eq!(out, "");
}

#[test]
fn bad_options_are_refused() {
    for (text, why) in [
        ("x", "Unrecognised option"),
        ("SEED 1", "Unrecognised option"),
        ("seed", "Invalid seed"),
        ("seed x", "Invalid seed"),
        ("seed -1", "Invalid seed"),
        ("seed 18446744073709551616", "Invalid seed"),
        ("cache 1099511627777", "Invalid size of the cache"),
        ("unit 0", "Invalid unit"),
        ("odds 0 0 0", "Invalid odds"),
        ("odds 1 1", "Invalid odds"),
        ("odds 1 1 4294967296", "Invalid odds"),
        ("error x 1 0 1", "Invalid error"),
        ("error r 1000000001 0 1", "Invalid error"),
        ("error r 1 0 0", "Invalid error"),
        ("error r 1 1 18446744073709551615", "Invalid error"),
        ("bad 0", "Invalid bad sectors"),
        ("bad_rate 1000000001", "Invalid rate of bad sectors"),
        ("misdirect", "Invalid rate of misdirected writes"),
        ("latency r", "Invalid latency"),
        ("latency r sometimes 1", "Invalid latency"),
        ("latency r uniform 2 1", "Invalid latency"),
        ("latency r long 0 1", "Invalid latency"),
    ] {
        assert_eq!(parse(text), Err(why.to_owned()), "{text}");
    }
    assert_eq!(
        parse(&"bad 1 1 ".repeat(9)),
        Err("Too many bad sectors".into())
    );
    assert_eq!(
        parse(&"error r 1 1 1 ".repeat(9)),
        Err("Too many errors".into())
    );
}
