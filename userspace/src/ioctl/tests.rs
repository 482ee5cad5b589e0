// SPDX-License-Identifier: GPL-2.0

use proptest::prelude::*;

use super::{
    reply::{number, text},
    *,
};

fn reply(flags: u32, target_count: u32, data: &[u8]) -> Reply {
    let mut buffer = Zeroizing::new(vec![0; HEADER]);
    let mut put = |at: usize, number: u32| {
        buffer[at..at + 4].copy_from_slice(&number.to_ne_bytes());
    };
    put(offset_of!(dm_ioctl, data_start), HEADER as u32);
    put(
        offset_of!(dm_ioctl, data_size),
        (HEADER + data.len()) as u32,
    );
    put(offset_of!(dm_ioctl, target_count), target_count);
    put(offset_of!(dm_ioctl, flags), flags);
    buffer.extend_from_slice(data);
    Reply::new(buffer)
}

/// A table as the kernel's `retrieve_status` writes it.
fn as_kernel(table: &Table) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for target in &table.targets {
        out.extend(target.start.to_ne_bytes());
        out.extend(target.length.to_ne_bytes());
        out.extend(0_i32.to_ne_bytes());
        let end = out.len() + 20 + target.args.len() + 1;
        let next = end.next_multiple_of(8);
        out.extend((next as u32).to_ne_bytes());
        let mut name = [0; 16];
        name[..target.name.len()].copy_from_slice(target.name.as_bytes());
        out.extend(name);
        out.extend(target.args.as_bytes());
        out.resize(next, 0);
    }
    out
}

#[test]
fn a_load_is_laid_out_as_the_kernel_reads_it() {
    let table = Table::parse("0 8 linear 8:0 0\n8 16 zero").unwrap();
    let data = table_data(&table);
    let u32_at = |at: usize| u32::from_ne_bytes(number(&data, at).unwrap());
    let u64_at = |at: usize| u64::from_ne_bytes(number(&data, at).unwrap());
    assert_eq!((u64_at(0), u64_at(8)), (0, 8));
    assert_eq!(u32_at(20), 48, "the second target begins 48 bytes on");
    assert_eq!(text(&data, 24).as_deref(), Some("linear"));
    assert_eq!(text(&data, 40).as_deref(), Some("8:0 0"));
    assert_eq!((u64_at(48), u64_at(56)), (8, 16));
    assert_eq!(u32_at(68), 48);
    assert_eq!(text(&data, 72).as_deref(), Some("zero"));
    assert_eq!(text(&data, 88).as_deref(), Some(""));
    assert_eq!(data.len(), 96);
}

#[test]
fn a_header_is_laid_out_as_the_kernel_reads_it() {
    let name = DmName::new("disk").unwrap();
    let buffer = Request {
        name: Some(name),
        number: Some(Device {
            major: 253,
            minor: 300,
        }),
        flags: DmFlags::DM_READONLY,
        event_nr: 7,
        target_count: 2,
        data: Some(Zeroizing::new(vec![1, 2, 3])),
        ..Request::default()
    }
    .encode(400);
    let u32_at = |at: usize| u32::from_ne_bytes(number(&buffer, at).unwrap());
    assert_eq!([u32_at(0), u32_at(4), u32_at(8)], INTERFACE);
    assert_eq!((u32_at(12), u32_at(16)), (400, 312));
    assert_eq!((u32_at(20), u32_at(28), u32_at(32)), (2, 1, 7));
    assert_eq!(
        u64::from_ne_bytes(number(&buffer, 40).unwrap()),
        0x10_fd2c,
        "mmmM MMmm"
    );
    assert_eq!(text(&buffer, 48).as_deref(), Some("disk"));
    assert_eq!(buffer[312..316], [1, 2, 3, 0]);
    assert_eq!(buffer.len(), 400);
}

#[test]
fn lists_are_read() {
    let mut data = Vec::new();
    for (device, next, name) in [(0xfd00_u64, 16_u32, "one"), (0xfd01, 0, "two\\x20b")] {
        data.extend(device.to_ne_bytes());
        data.extend(next.to_ne_bytes());
        data.extend(name.as_bytes());
        data.push(0);
        data.resize(data.len().next_multiple_of(8), 0);
    }
    let devices = reply(0, 0, &data).devices().unwrap();
    let minor = |minor| Device { major: 253, minor };
    assert_eq!(
        devices,
        [
            ("one".to_owned(), minor(0)),
            ("two\\x20b".to_owned(), minor(1))
        ]
    );
    assert_eq!(reply(0, 0, &[]).devices(), Ok(Vec::new()));
}

#[test]
fn dependencies_are_read() {
    let mut data = Vec::new();
    data.extend(2_u32.to_ne_bytes());
    data.extend(0_u32.to_ne_bytes());
    data.extend(0x801_u64.to_ne_bytes());
    data.extend(0xfd02_u64.to_ne_bytes());
    let device = |major, minor| Device { major, minor };
    assert_eq!(
        reply(0, 0, &data).dependencies(),
        Ok(vec![device(8, 1), device(253, 2)])
    );
    assert_eq!(reply(0, 0, &[]).dependencies(), Ok(Vec::new()));
    let short = reply(0, 0, &data[..20]);
    assert_eq!(short.dependencies(), Err(Failure::Malformed));
}

#[test]
fn only_a_target_that_answers_has_an_answer() {
    assert_eq!(reply(0, 0, b"old\0").message(), Ok(None));
    assert_eq!(
        reply(DmFlags::DM_DATA_OUT.bits(), 0, b"new\0").message(),
        Ok(Some("new".to_owned()))
    );
    assert_eq!(
        reply(DmFlags::DM_DATA_OUT.bits(), 0, b"no end").message(),
        Err(Failure::Malformed)
    );
}

prop_compose! {
    fn any_table()(
        lines in proptest::collection::vec(
            (any::<u64>(), any::<u64>(), "[a-z-]{1,15}", "[!-~ ]{0,40}"),
            0..6,
        ),
    ) -> Table {
        let targets = lines.into_iter().map(|(start, length, name, args)| Target {
            start,
            length,
            name,
            args: Zeroizing::new(args),
        });
        Table { targets: targets.collect() }
    }
}

proptest! {
    #[test]
    fn tables_come_back(table in any_table()) {
        let data = as_kernel(&table);
        let count = table.targets.len() as u32;
        prop_assert_eq!(reply(0, count, &data).table().unwrap(), table);
    }

    #[test]
    fn no_reply_makes_it_panic(
        flags: u32,
        count in 0..5_u32,
        data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let reply = reply(flags, count, &data);
        let _ = (reply.table().is_ok(), reply.versions(), reply.devices(), reply.message(), reply.dependencies());
    }

    #[test]
    fn no_header_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let reply = Reply::new(Zeroizing::new(bytes));
        let _ = (reply.data().is_ok(), reply.name(), reply.uuid(), reply.device());
    }
}
