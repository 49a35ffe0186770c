//! The one computed header of the upgrade.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The `Sec-WebSocket-Accept` for a client's `Sec-WebSocket-Key`; `None` when the key is not 16
/// bytes in base64 (RFC 6455, 4.2.1).
#[must_use]
pub fn accept_key(key: &str) -> Option<String> {
    let nonce = STANDARD.decode(key).ok()?;
    if nonce.len() != 16 {
        return None;
    }
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(STANDARD.encode(hash.digest().bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_key_is_sixteen_bytes() {
        for bad in [
            "",
            "dGhl",
            "dGhlIHNhbXBsZSBub25jZTE=",
            "not base64 at all!!!!!!=",
        ] {
            assert_eq!(accept_key(bad), None, "{bad}");
        }
    }
}
