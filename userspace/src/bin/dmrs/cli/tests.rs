// SPDX-License-Identifier: GPL-2.0

use clap::CommandFactory;

use super::*;

fn accepts(line: &str) -> bool {
    Cli::try_parse_from(line.split(' ')).is_ok()
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn contradictions_are_refused() {
    assert!(accepts("dmrs create a file"));
    assert!(!accepts("dmrs create a file --table 0"));
    assert!(!accepts("dmrs create a --notable --table 0"));
    assert!(!accepts("dmrs create a --notable --readonly"));
    assert!(!accepts("dmrs create a --minor 3"));
    assert!(accepts("dmrs create a --major 253 --minor 3 -n"));
    assert!(accepts("dmrs remove -u x"));
    assert!(!accepts("dmrs remove"));
    assert!(accepts("dmrs table"));
    assert!(!accepts("dmrs remove a -u x"));
    assert!(!accepts("dmrs load"));
    assert!(accepts("dmrs load a file"));
    assert!(accepts("dmrs reload -u x file"));
    assert!(!accepts("dmrs load -u x file other"));
    assert!(!accepts("dmrs message a"));
    assert!(accepts("dmrs create --concise a,,,rw,0"));
    assert!(accepts("dmrs create --concise"));
    assert!(!accepts("dmrs create a --concise"));
    assert!(accepts("dmrs rename a b"));
    assert!(accepts("dmrs rename a --setuuid b"));
    assert!(!accepts("dmrs rename a"));
    assert!(!accepts("dmrs rename a b --setuuid c"));
    assert!(accepts("dmrs swap a --to c --json"));
    assert!(!accepts("dmrs swap a"));
    assert!(accepts("dmrs diff a b --range 8+16"));
    assert!(!accepts("dmrs diff a b --range 8"));
    assert!(!accepts("dmrs diff a b --range 1+18446744073709551615"));
    assert!(!accepts("dmrs stat --interval 0"));
    assert!(!accepts("dmrs stat --interval -1"));
}

#[test]
fn words_of_a_message_are_no_options() {
    let message = |line: &str| match Cli::try_parse_from(line.split(' ')).unwrap().command {
        Command::Message(message) => (message.selector.uuid, message.words.join(" ")),
        other => panic!("{other:?}"),
    };
    let (uuid, words) = message("dmrs message -u x 0 key -u y");
    assert_eq!((uuid.as_deref(), words.as_str()), (Some("x"), "0 key -u y"));
    let (uuid, words) = message("dmrs message disk 0 -1");
    assert_eq!((uuid.as_deref(), words.as_str()), (None, "disk 0 -1"));
}
