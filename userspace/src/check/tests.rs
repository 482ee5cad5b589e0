// SPDX-License-Identifier: GPL-2.0

use proptest::prelude::*;

use super::*;

/// `/dev/sda` of 1000 sectors, `/dev/big` with blocks of 4096 bytes, `/dev/root` mounted,
/// `/dev/ro` read-only, `/dev/null` no block device; and the in-tree targets and `rust-powercut`.
struct Bench;

impl System for Bench {
    fn device(&self, text: &str) -> Lookup {
        let facts = DeviceFacts {
            sectors: Some(1000),
            logical_block_size: Some(512),
            ..DeviceFacts::default()
        };
        Lookup::Found(match text {
            "/dev/sda" => facts,
            "/dev/big" => DeviceFacts {
                logical_block_size: Some(4096),
                ..facts
            },
            "/dev/root" => DeviceFacts {
                holder: Some("it is mounted on / (ext4)".to_owned()),
                ..facts
            },
            "/dev/ro" => DeviceFacts {
                read_only: true,
                ..facts
            },
            "253:7" => DeviceFacts {
                device: Some(Device {
                    major: 253,
                    minor: 7,
                }),
                ..facts
            },
            "/dev/null" => return Lookup::NoDevice,
            "/dev/odd" => return Lookup::Unknown,
            _ => return Lookup::Missing(Some("/dev/sda".to_owned())),
        })
    }

    fn target(&self, name: &str) -> TargetState {
        match name != "vdo" && self.target_names().iter().any(|known| known == name) {
            true => TargetState::Usable,
            false => TargetState::Unknown,
        }
    }

    fn target_names(&self) -> Vec<String> {
        grammar::IN_TREE
            .iter()
            .chain(&["rust-powercut"])
            .map(|&name| name.to_owned())
            .collect()
    }
}

/// What is found, as `LINE: 'WORD' MESSAGE`, warnings in brackets.
fn found(text: &str) -> Vec<String> {
    let purpose = Purpose {
        device: Some(Device {
            major: 253,
            minor: 7,
        }),
        read_only: false,
    };
    check(text, &Bench, &purpose)
        .iter()
        .map(|finding| {
            let said = format!(
                "{}: '{}' {}",
                finding.line,
                &text[finding.span.clone()],
                finding.message
            );
            match finding.severity {
                Severity::Error => said,
                Severity::Warning => format!("[{said}]"),
            }
        })
        .collect()
}

#[test]
fn a_table_in_order_is_left_alone() {
    let good = [
        "0 10 linear /dev/sda 0\n10 990 linear /dev/sda 10\n",
        "0 1000 linear /dev/odd 99999",
        "0 64 striped 2 8 /dev/sda 0 /dev/sda 32",
        "0 8 zero",
        "0 8 error\n8 8 error a b c",
        "0 8 delay /dev/sda 0 5\n8 8 delay /dev/sda 0 5 /dev/sda 8 6",
        "0 8 crypt aes-xts-plain64 00ff 0 /dev/sda 0 1 allow_discards",
        "0 8 crypt aes :32:logon:k 0 /dev/sda 0",
        "0 8 flakey /dev/sda 0 5 1 2 drop_writes error_reads",
        "0 8 raid whatever it is",
        "0 8 linear /dev/big 8",
        "0 8 unstriped 2 8 1 /dev/sda 5000",
        "0 8 integrity /dev/sda 0 - J 2 internal_hash:crc32c journal_sectors:8",
        "0 8 log-writes /dev/sda /dev/sda",
        "0 8 thin-pool /dev/sda /dev/sda 128 0 1 skip_block_zeroing",
    ];
    for text in good {
        assert_eq!(found(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn order_gaps_and_overlaps() {
    assert_eq!(
        found("8 8 zero"),
        ["1: '8' no target serves the sectors 0 to 7"]
    );
    assert_eq!(
        found("0 8 zero\n10 8 zero"),
        ["2: '10' no target serves the sectors 8 to 9"]
    );
    assert_eq!(
        found("0 8 zero\n6 8 zero"),
        ["2: '6' the sectors 6 to 7 are served by line 1 already"]
    );
    assert_eq!(
        found("8 8 zero\n0 8 zero"),
        ["1: '8' the lines are not in order"]
    );
    assert_eq!(
        found("0 9 zero\n0 8 zero"),
        ["2: '0' the sectors 0 to 7 are served by line 1 already"]
    );
}

#[test]
fn lines_that_cannot_be_read_are_told_with_the_others() {
    assert_eq!(
        found("0 x zero\n0 8 liner /dev/sda 0"),
        [
            "1: 'x' the length 'x' must be a whole number of 512-byte sectors, in decimal",
            "2: 'liner' there is no target 'liner'"
        ]
    );
}

#[test]
fn a_target_that_is_not_there() {
    let help = |text| {
        check(text, &Bench, &Purpose::default())[0]
            .help
            .clone()
            .unwrap()
    };
    assert!(help("0 8 lineaer /dev/sda 0").contains("'linear'"));
    assert!(help("0 8 rust-linear /dev/sda 0").contains("the module dm-rust brings it"));
    assert!(help("0 8 rust-liner /dev/sda 0").contains("dmrs targets"));
    assert!(help("0 8 vdo /dev/sda 0").contains("the module dm-vdo brings it"));
    assert!(help("0 8 quantum").contains("dmrs targets"));
}

#[test]
fn argument_counts() {
    assert_eq!(
        found("0 8 linear /dev/sda"),
        ["1: '' the offset of 'linear' is missing"]
    );
    assert_eq!(
        found("0 8 linear"),
        ["1: '' the device of 'linear' is missing"]
    );
    assert_eq!(
        found("0 8 linear /dev/sda 0 1 2"),
        ["1: '1 2' 'linear' takes no more than 2 arguments"]
    );
    assert_eq!(
        found("0 8 zero 1"),
        ["1: '1' 'zero' takes no more than 0 arguments"]
    );
    assert_eq!(
        found("0 8 striped 2 4 /dev/sda 0"),
        ["1: '' the device of 'striped' is missing"]
    );
    assert_eq!(
        found("0 8 delay /dev/sda 0 1 /dev/sda 0"),
        ["1: '' the delay of 'delay' is missing"]
    );
    assert_eq!(
        found("0 8 cache /dev/sda /dev/sda /dev/sda"),
        ["1: '' the block size of 'cache' is missing"]
    );
    assert_eq!(
        found("0 8 flakey /dev/sda 0 5 1 2 drop_writes"),
        ["1: '2' there are 1 features, not 2"]
    );
    assert_eq!(
        found("0 8 flakey /dev/sda 0 5 1 0 drop_writes"),
        ["[1: '0' only 0 of the 1 features are looked at]"]
    );
}

#[test]
fn options_of_powercut_are_read_as_the_target_does() {
    let of = |options: &str| found(&format!("0 8 rust-powercut /dev/sda 0{options}"));
    let none: [&str; 0] = [];
    assert_eq!(of(""), none);
    assert_eq!(of(" 0"), none);
    assert_eq!(of(" 3 lying seed 7"), none);
    assert_eq!(of(" 10 error w 1000 0 8 latency r long 5 900"), none);
    assert_eq!(of(" 3 lying seed x"), ["1: 'seed x' Invalid seed"]);
    assert_eq!(of(" 1 seed"), ["1: 'seed' Invalid seed"]);
    assert_eq!(of(" 6 seed 1 odds 0 0 0"), ["1: 'odds 0 0 0' Invalid odds"]);
    assert_eq!(
        of(" 5 error w 1000000001 0 8"),
        ["1: 'error w 1000000001' Invalid error"]
    );
    assert_eq!(of(" 1 lieing"), ["1: 'lieing' Unrecognised option"]);
    assert_eq!(of(" 2 lying"), ["1: '2' there are 1 options, not 2"]);
}

#[test]
fn argument_kinds() {
    assert_eq!(
        found("0 8 linear /dev/sda x"),
        ["1: 'x' the offset 'x' is no whole number"]
    );
    assert_eq!(
        found("0 8 striped 0 4"),
        ["1: '0' the stripes may not be 0"]
    );
    assert_eq!(
        found("0 9 striped 2 4 /dev/sda 0 /dev/sda 100"),
        ["1: '9' 9 sectors cannot be divided among 2 stripes"]
    );
    assert_eq!(
        found("0 12 striped 2 4 /dev/sda 0 /dev/sda 100"),
        ["1: '12' each of 2 stripes has 6 sectors, which are no whole chunks"]
    );
    assert_eq!(
        found("0 8 crypt aes 0000 0 /dev/sda 0"),
        ["[1: '0000' the key is nothing but zeros]"]
    );
    let key = found("0 8 crypt aes secret! 0 /dev/sda 0");
    assert_eq!(key.len(), 1);
    assert!(key[0].ends_with("the key is not in hexadecimal"), "{key:?}");
}

#[test]
fn devices() {
    assert_eq!(
        found("0 8 linear /dev/sdx 0"),
        ["1: '/dev/sdx' there is no device '/dev/sdx'"]
    );
    assert_eq!(
        found("0 8 linear /dev/null 0"),
        ["1: '/dev/null' the device '/dev/null' is no block device"]
    );
    assert_eq!(
        found("0 8 linear /dev/root 0"),
        ["1: '/dev/root' the device '/dev/root' is in use"]
    );
    assert_eq!(
        found("0 8 linear /dev/ro 0"),
        ["[1: '/dev/ro' the device '/dev/ro' can only be read]"]
    );
    assert_eq!(
        found("0 8 linear 253:7 0"),
        ["1: '253:7' the device would stand on itself"]
    );
}

#[test]
fn areas() {
    assert_eq!(
        found("0 8 linear /dev/sda 993"),
        ["1: '993' the device is too small: it has 1000 sectors"]
    );
    assert_eq!(
        found("0 8 linear /dev/sda 18446744073709551615"),
        ["1: '18446744073709551615' the device is too small: it has 1000 sectors"]
    );
    assert_eq!(
        found("0 8 linear /dev/big 1"),
        ["1: '1' the offset 1 is not aligned to the logical blocks of 4096 bytes"]
    );
    assert_eq!(
        found("0 9 linear /dev/big 8"),
        ["1: '9' the length 9 is not aligned to the logical blocks of 4096 bytes"]
    );
    // Half of it each.
    assert!(found("0 1600 striped 2 8 /dev/sda 200 /dev/sda 200").is_empty());
    assert_eq!(
        found("0 1600 striped 2 8 /dev/sda 200 /dev/sda 201"),
        ["1: '201' the device is too small: it has 1000 sectors"]
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_all_spans_are_in_it(
        words in proptest::collection::vec(
            prop_oneof![
                "[0-9]{1,3}", Just("\n".to_owned()), Just("/dev/sda".to_owned()),
                Just("linear".to_owned()), Just("striped".to_owned()), Just("crypt".to_owned()),
                Just("delay".to_owned()), Just("#".to_owned()), "[a-z\\\\ä]{1,4}",
            ],
            0..30,
        ),
    ) {
        let text = words.join(" ");
        for finding in check(&text, &Bench, &Purpose::default()) {
            prop_assert!(text.get(finding.span).is_some());
            prop_assert!(finding.line >= 1);
        }
    }

    /// The kernel takes a table if and only if each line begins where the last ended.
    #[test]
    fn order_is_what_the_kernel_wants(
        ranges in proptest::collection::vec((0..12_u64, 1..6_u64), 1..5),
    ) {
        let mut end = 0;
        let good = ranges.iter().all(|&(start, length)| {
            let adjoins = start == end;
            end = start + length;
            adjoins
        });
        let lines: Vec<_> = ranges.iter().map(|(s, l)| format!("{s} {l} zero")).collect();
        let findings = check(&lines.join("\n"), &Bench, &Purpose::default());
        prop_assert_eq!(findings.is_empty(), good);
    }
}
