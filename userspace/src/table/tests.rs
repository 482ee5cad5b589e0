// SPDX-License-Identifier: GPL-2.0

use proptest::prelude::*;

use std::ops::Range;

use super::*;

fn target(start: u64, length: u64, name: &str, args: &str) -> Target {
    Target {
        start,
        length,
        name: name.to_owned(),
        args: Zeroizing::new(args.to_owned()),
    }
}

fn problem(text: &str) -> (usize, Range<usize>, Problem) {
    let error = Table::parse(text).unwrap_err();
    (error.line, error.span, error.problem)
}

#[test]
fn reads_lines_comments_and_blanks() {
    let text = "\n# a comment\n  0\t8   linear  /dev/sda 0  # the first\n\n8 8 zero\n";
    assert_eq!(
        Table::parse(text).unwrap().targets,
        [
            target(0, 8, "linear", "/dev/sda 0"),
            target(8, 8, "zero", "")
        ]
    );
    assert_eq!(Table::parse(text).unwrap().size(), 16);
}

#[test]
fn reads_windows_line_ends() {
    let table = Table::parse("0 8 linear /dev/sda 0\r\n").unwrap();
    assert_eq!(table.targets, [target(0, 8, "linear", "/dev/sda 0")]);
}

#[test]
fn points_at_the_word_at_fault() {
    let missing = |field| Problem::Missing(field);
    assert_eq!(problem(""), (1, 0..0, Problem::NoTargets));
    assert_eq!(problem("# x\n\n"), (2, 0..0, Problem::NoTargets));
    assert_eq!(problem("0"), (1, 1..1, missing(Field::Length)));
    assert_eq!(problem("0 8"), (1, 3..3, missing(Field::Target)));
    assert_eq!(problem("0 8 # zero"), (1, 4..4, missing(Field::Target)));
    assert_eq!(
        problem("0 8 zero\n8 x zero"),
        (2, 2..3, Problem::NotANumber(Field::Length, "x".to_owned()))
    );
    assert_eq!(
        problem("-1 8 zero"),
        (1, 0..2, Problem::NotANumber(Field::Start, "-1".to_owned()))
    );
    assert_eq!(
        problem("18446744073709551616 8 zero"),
        (
            1,
            0..20,
            Problem::TooLarge(Field::Start, "18446744073709551616".to_owned())
        )
    );
    assert_eq!(
        problem("18446744073709551615 1 zero"),
        (1, 21..22, Problem::EndsTooLate)
    );
    assert_eq!(problem("0 0 zero"), (1, 2..3, Problem::NoLength));
    assert_eq!(
        problem("0 1 sixteen-letters-"),
        (
            1,
            4..20,
            Problem::TargetTooLong("sixteen-letters-".to_owned())
        )
    );
    assert_eq!(problem("0 1 zero \0"), (1, 9..10, Problem::Nul));
}

#[test]
fn hides_keys_as_dmsetup_does() {
    for name in ["crypt", "rust-crypt"] {
        let line = |args| target(0, 8, name, args).to_string();
        assert_eq!(
            line("aes-xts-plain64 00ff 0 /dev/sda 0"),
            format!("0 8 {name} aes-xts-plain64 0000 0 /dev/sda 0")
        );
        assert_eq!(line("aes beef"), format!("0 8 {name} aes 0000"));
        assert_eq!(line("aes \t beef 0"), format!("0 8 {name} aes \t 0000 0"));
        assert_eq!(
            line("aes :32:logon:k 0 /dev/sda 0"),
            format!("0 8 {name} aes :32:logon:k 0 /dev/sda 0")
        );
        assert_eq!(line("aes"), format!("0 8 {name} aes"));
    }
    let integrity = target(
        0,
        8,
        "integrity",
        "8:0 0 32 J 3 internal_hash:hmac(sha256):beef journal_mac:crc32c journal_crypt:ctr:f0",
    );
    assert_eq!(
        *integrity.args_without_keys(),
        "8:0 0 32 J 3 internal_hash:hmac(sha256):0000 journal_mac:crc32c journal_crypt:ctr:00"
    );
    assert_eq!(
        target(0, 8, "linear", "8:0 4242").to_string(),
        "0 8 linear 8:0 4242"
    );
}

#[test]
fn debug_output_has_no_key() {
    let table = Table::parse("0 8 crypt aes 00beef00 0 /dev/sda 0").unwrap();
    assert!(!format!("{table:?}").contains("beef"));
    assert!(table.targets[0].line_with_keys().contains("beef"));
}

prop_compose! {
    fn any_target()(
        start in 0..=u64::MAX / 2,
        length in 1..=u64::MAX / 2,
        name in "[a-z][a-z0-9-]{0,14}",
        args in proptest::collection::vec("[!-\"$-~]{1,8}", 0..6),
    ) -> Target {
        target(start, length, &name, &args.join(" "))
    }
}

#[test]
fn words_are_where_the_kernel_finds_them() {
    let text = "\n0 8 linear /dev/a\\ b 0 # x";
    let source = Source::parse(text);
    let [line] = &source.lines[..] else {
        panic!("{source:?}");
    };
    assert_eq!((line.number, &text[line.start.clone()]), (2, "0"));
    assert_eq!(&text[line.length.clone()], "8");
    assert_eq!(&text[line.name.clone()], "linear");
    let args: Vec<_> = line.args.iter().map(|span| &text[span.clone()]).collect();
    assert_eq!(args, ["/dev/a\\ b", "0"]);
}

#[test]
fn all_errors_are_found() {
    let source = Source::parse("0 8 zero\nx 8 zero\n8 y zero\n");
    assert_eq!(source.lines.len(), 1);
    let at: Vec<_> = source.errors.iter().map(|e| (e.line, e.offset)).collect();
    assert_eq!(at, [(2, 9), (3, 18)]);
}

#[test]
fn what_is_shown_of_a_text_has_no_key() {
    let text = "0 8 crypt aes beefbeef 0 /dev/sda 0 # mine\n# beef\n8 x crypt aes \
        00112233445566778899aabbccddeeff 0 /dev/sda 0\n";
    let shown = Source::parse(text).without_keys(text);
    assert_eq!(
        shown,
        "0 8 crypt aes 00000000 0 /dev/sda 0 # mine\n# beef\n8 x crypt aes \
         00000000000000000000000000000000 0 /dev/sda 0\n"
    );
}

proptest! {
    #[test]
    fn what_is_shown_is_as_long(text in "[0-9a-f :/#\n\\\\ä-]{0,80}") {
        prop_assert_eq!(Source::parse(&text).without_keys(&text).len(), text.len());
    }

    #[test]
    fn what_is_printed_is_read_back(targets in proptest::collection::vec(any_target(), 1..5)) {
        let text: Vec<String> = targets.iter().map(|t| t.line_with_keys().to_string()).collect();
        prop_assert_eq!(Table::parse(&text.join("\n")).unwrap().targets, targets);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9 \t#\r\n\0a-z-]{0,80}") {
        if let Err(error) = Table::parse(&text) {
            let line = text.lines().nth(error.line - 1).unwrap_or_default();
            prop_assert!(line.get(error.span).is_some());
        }
    }

    #[test]
    fn hiding_keeps_the_length(args in ".{0,60}") {
        for name in ["crypt", "integrity", "linear"] {
            let target = target(0, 8, name, &args);
            prop_assert_eq!(target.args_without_keys().len(), args.len());
        }
    }
}
