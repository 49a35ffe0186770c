//! What must hold for any bytes that a client sends. The fuzzer and the ordinary tests call it.

use banter_protocol::close::Close;
use banter_protocol::frame::ClientFrame;
use banter_protocol::id::{SessionId, UserId};
use banter_protocol::limit;
use banter_protocol::session::{Greeting, Identity, Request, Session};
use banter_protocol::text::Username;
use banter_protocol::websocket::{Decoded, Decoder, Event};

/// The first byte says how reads cut the rest, which is a stream, and also tried as one text.
pub(crate) fn check(data: &[u8]) {
    let [size, stream @ ..] = data else {
        return;
    };
    let whole = meaning(stream, stream.len());
    assert_eq!(
        whole,
        meaning(stream, usize::from(*size)),
        "cutting changes nothing"
    );
    for event in &whole.0 {
        if let Event::Text(text) = event {
            assert!(text.len() <= limit::FRAME_BYTES_MAX);
            frame(text);
        }
    }
    if let Ok(text) = std::str::from_utf8(stream) {
        frame(text);
    }
}

fn meaning(stream: &[u8], size: usize) -> (Vec<Event>, Option<Close>) {
    let mut decoder = Decoder::default();
    let (mut buffer, mut events) = (Vec::new(), Vec::new());
    for read in stream.chunks(size.max(1)) {
        buffer.extend_from_slice(read);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Decoded::Frame(size, event)) => {
                    buffer.drain(..size);
                    events.push(event);
                }
                Ok(Decoded::Incomplete(missing)) => {
                    assert!((1..=limit::FRAME_BYTES_MAX + 14).contains(&missing));
                    break;
                }
                Err(close) => {
                    let by_the_rfc = [1002, 1003, 1007, 1009].contains(&close.code());
                    assert!(by_the_rfc, "{close:?}");
                    return (events, Some(close));
                }
            }
        }
    }
    (events, None)
}

/// A frame's text is taken or refused, and every answer is a JSON object.
fn frame(text: &str) {
    let parsed = ClientFrame::parse(text);
    if parsed.is_ok() {
        let value: Result<serde_json::Value, _> = serde_json::from_str(text);
        // Numbers and depths that this reader cannot hold may stand in unknown fields.
        assert!(value.map_or_else(|e| !e.is_data(), |v| v.is_object()));
    }
    if let Err(close) = Greeting.first(parsed.clone()) {
        assert!(matches!(close, Close::BadFrame | Close::HelloExpected));
    }
    let session = Session::new(Identity {
        user: UserId::from_bytes([1; 16]),
        username: Username::from_stored("ann"),
        session: SessionId::from_bytes([2; 16]),
        expires_ms: 0,
    });
    match session.on_frame(parsed, 1_795_552_450_007) {
        Ok(Request::Submit(submission)) => {
            assert!((1..=limit::BODY_BYTES_MAX).contains(&submission.body.as_str().len()));
            assert!((1..=64).contains(&submission.id.as_str().len()));
        }
        Ok(Request::Answer(answer)) => {
            let json = answer.to_json();
            assert!(
                json.starts_with(r#"{"type":""#) && json.ends_with('}'),
                "{json}"
            );
            // A refused id and channel come back as they were, which must not swell.
            assert!(json.len() <= 6 * text.len() + 512);
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
        }
        Ok(Request::Renew(_)) => {}
        Err(close) => assert_eq!(close, Close::BadFrame),
    }
}
