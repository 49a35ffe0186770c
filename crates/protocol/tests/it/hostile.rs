//! Frames that no honest client sends, and the close code that each gets.

use banter_protocol::close::Close;
use banter_protocol::limit;
use banter_protocol::websocket::{Decoded, Decoder, Event, close_frame, opcode};

use crate::decode::{client_frame, masked, meaning};

const LAST: u8 = 0x80;
const TEXT: u8 = LAST | opcode::TEXT;
const PING: u8 = LAST | opcode::PING;
const END: u8 = LAST | opcode::CONTINUATION;

/// Both at once and byte by byte, so that nothing hangs on how it arrives.
fn refused(stream: &[u8]) -> Option<Close> {
    let (_, refused) = meaning([stream]);
    assert_eq!(meaning(stream.chunks(1)).1, refused);
    refused
}

#[track_caller]
fn assert_refused(name: &str, stream: &[u8], close: Close) {
    assert_eq!(refused(stream), Some(close), "{name}");
}

fn close_with(code: u16, reason: &[u8]) -> Vec<u8> {
    let payload = [&code.to_be_bytes()[..], reason].concat();
    client_frame(LAST | opcode::CLOSE, &payload)
}

#[test]
fn frames_must_be_masked() {
    for first in [TEXT, PING, LAST | opcode::PONG, LAST | opcode::CLOSE] {
        assert_refused("unmasked", &[first, 0], Close::Protocol);
        assert_refused(
            "unmasked, with payload",
            &[first, 2, b'h', b'i'],
            Close::Protocol,
        );
    }
}

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for first in [TEXT, PING, opcode::TEXT, LAST | opcode::CLOSE] {
        for bit in [0x40, 0x20, 0x10] {
            assert_refused(
                "reserved bit",
                &client_frame(first | bit, b""),
                Close::Protocol,
            );
        }
    }
    for reserved in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for last in [0, LAST] {
            let frame = client_frame(last | reserved, b"");
            assert_refused("reserved opcode", &frame, Close::Protocol);
        }
    }
}

#[test]
fn control_frames_are_whole_and_short() {
    for control in [opcode::CLOSE, opcode::PING, opcode::PONG] {
        let fragment = client_frame(control, b"");
        assert_refused("fragmented", &fragment, Close::Protocol);
        for length in [126, 65_535, 65_536] {
            let long = client_frame(LAST | control, &vec![b'x'; length]);
            assert_refused("long", &long, Close::Protocol);
            assert_refused("long, declared", &long[..10], Close::Protocol);
        }
    }
    let longest = client_frame(PING, &[7; 125]);
    assert_eq!(meaning([&longest[..]]).0, [Event::Ping(vec![7; 125])]);
}

#[test]
fn close_frames_carry_a_code_that_may_be_sent() {
    for code in (0..1000)
        .chain([1004, 1005, 1006])
        .chain(1015..3000)
        .chain([5000, 9999, u16::MAX])
    {
        assert_refused(&code.to_string(), &close_with(code, b""), Close::Protocol);
    }
    for code in [
        1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999,
    ] {
        let (events, refused) = meaning([&close_with(code, "grüß".as_bytes())[..]]);
        assert_eq!(
            (events, refused),
            (vec![Event::Close(Some(code))], None),
            "{code}"
        );
    }
    let empty = client_frame(LAST | opcode::CLOSE, b"");
    assert_eq!(meaning([&empty[..]]), (vec![Event::Close(None)], None));
    let half = client_frame(LAST | opcode::CLOSE, &[3]);
    assert_refused("half a code", &half, Close::Protocol);
    let reason = close_with(1000, b"\xff");
    assert_refused("reason not UTF-8", &reason, Close::NotUtf8);
}

#[test]
fn every_close_of_ours_may_be_sent() {
    for close in Close::ALL {
        let frame = masked(&close_frame(*close));
        assert_eq!(
            meaning([&frame[..]]),
            (vec![Event::Close(Some(close.code()))], None),
            "{close:?}"
        );
    }
}

#[test]
fn lengths_must_have_their_shortest_form() {
    let header = |first, length: &[u8]| [&[first][..], length, &[0; 4]].concat();
    for long in [0u16, 1, 125] {
        let length = [&[0xfe][..], &long.to_be_bytes()].concat();
        assert_refused("16 bits", &header(TEXT, &length), Close::Protocol);
        assert_refused("16 bits, ping", &header(PING, &length), Close::Protocol);
    }
    for long in [0u64, 125, 126, 65_535, 1 << 63, u64::MAX] {
        let length = [&[0xff][..], &long.to_be_bytes()].concat();
        assert_refused("64 bits", &header(TEXT, &length), Close::Protocol);
    }
}

#[test]
fn a_declared_length_over_the_limit_is_refused_before_it_is_sent() {
    let declared = |first, length: u64| [&[first, 0xff][..], &length.to_be_bytes()].concat();
    let over = limit::FRAME_BYTES_MAX as u64 + 1;
    for length in [over, 1 << 30, (1 << 63) - 1] {
        assert_refused("whole", &declared(TEXT, length), Close::TooBig);
        assert_refused("begun", &declared(opcode::TEXT, length), Close::TooBig);
    }
    // The limit itself is taken.
    let most = "x".repeat(limit::FRAME_BYTES_MAX);
    let frame = client_frame(TEXT, most.as_bytes());
    assert_eq!(meaning([&frame[..]]), (vec![Event::Text(most)], None));
}

#[test]
fn fragments_are_limited_together() {
    let part = vec![b'x'; limit::FRAME_BYTES_MAX / 4];
    let mut stream = client_frame(opcode::TEXT, &part);
    for _ in 0..3 {
        stream.extend(client_frame(opcode::CONTINUATION, &part));
    }
    assert_eq!(meaning([&stream[..]]).1, None);
    stream.extend([END, 0x81]);
    assert_refused("one byte more", &stream, Close::TooBig);
    // A control frame between them is none of the message.
    stream.truncate(stream.len() - 2);
    stream.extend(client_frame(PING, &[0; 125]));
    stream.extend(client_frame(END, b""));
    assert_eq!(meaning([&stream[..]]).1, None);
}

#[test]
fn a_million_empty_fragments_hold_no_memory() {
    let mut decoder = Decoder::default();
    let begin = decoder.decode(&mut client_frame(opcode::TEXT, b""));
    assert_eq!(begin, Ok(Decoded::Frame(6, Event::Fragment)));
    let mut empty = client_frame(opcode::CONTINUATION, b"");
    for _ in 0..1_000_000 {
        assert_eq!(
            decoder.decode(&mut empty),
            Ok(Decoded::Frame(6, Event::Fragment))
        );
    }
    assert!(!decoder.is_idle());
    let end = decoder.decode(&mut client_frame(END, b"x"));
    assert_eq!(end, Ok(Decoded::Frame(7, Event::Text("x".into()))));
    assert!(decoder.is_idle());
}

#[test]
fn fragments_come_in_their_order() {
    let begin = client_frame(opcode::TEXT, b"a");
    let next = client_frame(opcode::CONTINUATION, b"b");
    let end = client_frame(END, b"c");
    let whole = client_frame(TEXT, b"d");
    let after_begin = |frame: &[u8]| [&begin[..], frame].concat();
    assert_refused("continuation first", &next, Close::Protocol);
    assert_refused("end first", &end, Close::Protocol);
    assert_refused("text within", &after_begin(&whole), Close::Protocol);
    assert_refused("second beginning", &after_begin(&begin), Close::Protocol);
    let binary = after_begin(&client_frame(LAST | opcode::BINARY, b""));
    assert_refused("binary within", &binary, Close::Protocol);
    let over = [&begin[..], &end, &end].concat();
    assert_refused("end twice", &over, Close::Protocol);
    let whole = after_begin(&[next, end].concat());
    let events = vec![Event::Fragment, Event::Fragment, Event::Text("abc".into())];
    assert_eq!(meaning([&whole[..]]), (events, None));
}

#[test]
fn binary_frames_are_refused() {
    for first in [LAST | opcode::BINARY, opcode::BINARY] {
        assert_refused("binary", &client_frame(first, b"x"), Close::Unsupported);
        assert_refused(
            "empty binary",
            &client_frame(first, b""),
            Close::Unsupported,
        );
    }
}

#[test]
fn texts_must_be_utf_8() {
    for bad in [
        &b"\xff"[..],
        b"\xc0\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe2\x82",
        b"abc\x80",
    ] {
        assert_refused("whole", &client_frame(TEXT, bad), Close::NotUtf8);
        for cut in 0..=bad.len() {
            let (left, right) = bad.split_at(cut);
            let begin = client_frame(opcode::TEXT, left);
            let end = client_frame(END, right);
            assert_refused("split", &[&begin[..], &end].concat(), Close::NotUtf8);
            let ping = client_frame(PING, b"");
            assert_refused(
                "around a ping",
                &[begin, ping, end].concat(),
                Close::NotUtf8,
            );
        }
    }
}

#[test]
fn a_beginning_that_cannot_become_utf_8_is_refused_at_once() {
    let begin = client_frame(opcode::TEXT, b"caf\xc3");
    assert_eq!(refused(&begin), None);
    let bad = client_frame(opcode::CONTINUATION, b"\x28");
    assert_refused("no end yet", &[&begin[..], &bad].concat(), Close::NotUtf8);
    let good = client_frame(END, b"\xa9");
    let (events, _) = meaning([&[begin, good].concat()[..]]);
    assert_eq!(events.last(), Some(&Event::Text("café".into())));
}

#[test]
fn characters_may_be_split_anywhere() {
    let text = "aé漢👋";
    for cut in 0..=text.len() {
        let (left, right) = text.as_bytes().split_at(cut);
        let stream = [client_frame(opcode::TEXT, left), client_frame(END, right)].concat();
        let events = vec![Event::Fragment, Event::Text(text.into())];
        assert_eq!(meaning([&stream[..]]), (events, None), "{cut}");
    }
}
