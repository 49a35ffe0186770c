//! The WebSocket decoder as a function of the byte stream, however reads cut it.

use banter_protocol::close::Close;
use banter_protocol::limit;
use banter_protocol::websocket::{Decoded, Decoder, Event, control_frame, opcode, text_frame};
use proptest::prelude::*;

/// What a stream means: its events, and why it was refused.
pub(crate) type Meaning = (Vec<Event>, Option<Close>);

/// A frame as a client writes it, in the shortest form.
pub(crate) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x5a, 0x00, 0xff, 0x21];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    frame
}

/// Feeds the reads one after the other, as a connection does.
pub(crate) fn meaning<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Meaning {
    let mut decoder = Decoder::default();
    let (mut buffer, mut events) = (Vec::new(), Vec::new());
    let mut wanted = 0;
    for read in reads {
        buffer.extend_from_slice(read);
        // A reader may wait until what the decoder asked for is there.
        wanted = usize::saturating_sub(wanted, read.len());
        if wanted > 0 {
            continue;
        }
        wanted = loop {
            match decoder.decode(&mut buffer) {
                Ok(Decoded::Frame(size, event)) => {
                    assert!((1..=buffer.len()).contains(&size));
                    buffer.drain(..size);
                    events.push(event);
                }
                Ok(Decoded::Incomplete(missing)) => break missing,
                Err(close) => return (events, Some(close)),
            }
        };
        assert!((1..=limit::FRAME_BYTES_MAX + 14).contains(&wanted));
    }
    (events, None)
}

fn cut(mut stream: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut reads = Vec::new();
    for size in sizes.iter().cycle() {
        if stream.is_empty() {
            break;
        }
        let (read, rest) = stream.split_at((*size).clamp(1, stream.len()));
        reads.push(read.to_vec());
        stream = rest;
    }
    reads
}

fn control() -> impl Strategy<Value = (Vec<u8>, Event)> {
    let payload = prop::collection::vec(any::<u8>(), 0..=125);
    (any::<bool>(), payload).prop_map(|(ping, payload)| {
        if ping {
            let frame = client_frame(0x80 | opcode::PING, &payload);
            (frame, Event::Ping(payload))
        } else {
            let frame = client_frame(0x80 | opcode::PONG, &payload);
            (frame, Event::Pong(payload))
        }
    })
}

/// A message in any number of fragments, control frames between them, and its events.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Event>)> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    let between = prop::collection::vec(prop::option::of(control()), 5);
    (any::<String>(), 1..200usize, cuts, between).prop_map(|(text, times, cuts, between)| {
        let text = text.repeat(times);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        at.sort_unstable();
        let (mut stream, mut events, mut begin) = (Vec::new(), Vec::new(), 0);
        for (n, end) in at.iter().enumerate() {
            let first = if n == 0 {
                opcode::TEXT
            } else {
                opcode::CONTINUATION
            };
            stream.extend(client_frame(first, &text.as_bytes()[begin..*end]));
            events.push(Event::Fragment);
            begin = *end;
            if let Some((frame, event)) = &between[n] {
                stream.extend_from_slice(frame);
                events.push(event.clone());
            }
        }
        let last = if at.is_empty() {
            opcode::TEXT
        } else {
            opcode::CONTINUATION
        };
        stream.extend(client_frame(0x80 | last, &text.as_bytes()[begin..]));
        events.push(Event::Text(text));
        (stream, events)
    })
}

proptest! {
    #[test]
    fn good_streams_mean_the_same_however_they_are_cut(
        messages in prop::collection::vec(message(), 0..4),
        sizes in prop::collection::vec(1..400usize, 1..8),
    ) {
        prop_assume!(messages.iter().all(|(stream, _)| stream.len() < limit::FRAME_BYTES_MAX));
        let stream: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let events: Vec<Event> = messages.into_iter().flat_map(|(_, events)| events).collect();
        let reads = cut(&stream, &sizes);
        prop_assert_eq!(meaning(reads.iter().map(Vec::as_slice)), (events, None));
    }

    /// Damaged streams too: the same events, then the same refusal.
    #[test]
    fn bad_streams_mean_the_same_however_they_are_cut(
        messages in prop::collection::vec(message(), 1..3),
        damage in any::<prop::sample::Index>(),
        flip in 1..=255u8,
        sizes in prop::collection::vec(1..400usize, 1..8),
    ) {
        let mut stream: Vec<u8> = messages.into_iter().flat_map(|(bytes, _)| bytes).collect();
        let at = damage.index(stream.len());
        stream[at] ^= flip;
        let whole = meaning([&stream[..]]);
        let reads = cut(&stream, &sizes);
        prop_assert_eq!(meaning(reads.iter().map(Vec::as_slice)), whole);
    }

    #[test]
    fn random_bytes_never_panic(stream in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytewise = meaning(stream.chunks(1));
        prop_assert_eq!(meaning([&stream[..]]), bytewise);
    }

    /// Random frames get past the first bytes more often than random bytes do.
    #[test]
    fn random_frames_never_panic(
        frames in prop::collection::vec(
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..140)),
            0..12,
        ),
        plain in any::<bool>(),
    ) {
        let keep = if plain { 0x8f } else { 0xff };
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|(first, payload)| client_frame(first & keep, payload))
            .collect();
        let bytewise = meaning(stream.chunks(1));
        prop_assert_eq!(meaning([&stream[..]]), bytewise);
    }

    /// What the server writes, a reader understands: the same frame, once a mask is put on it.
    #[test]
    fn written_frames_are_read_back(text in any::<String>(), times in 1..400usize) {
        let text = text.repeat(times);
        prop_assume!(text.len() <= limit::FRAME_BYTES_MAX);
        let frame = masked(&text_frame(&text));
        prop_assert_eq!(meaning([&frame[..]]), (vec![Event::Text(text)], None));
    }

    #[test]
    fn written_control_frames_are_read_back(
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let short = payload[..payload.len().min(125)].to_vec();
        let ping = masked(&control_frame(opcode::PING, &payload));
        prop_assert_eq!(meaning([&ping[..]]), (vec![Event::Ping(short.clone())], None));
        let pong = masked(&control_frame(opcode::PONG, &payload));
        prop_assert_eq!(meaning([&pong[..]]), (vec![Event::Pong(short)], None));
    }
}

/// A server's frame with the mask that a client's must have; a mask of zeros changes no byte.
pub(crate) fn masked(frame: &[u8]) -> Vec<u8> {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mut masked = frame[..header].to_vec();
    masked[1] |= 0x80;
    masked.extend([0; 4]);
    masked.extend_from_slice(&frame[header..]);
    masked
}
