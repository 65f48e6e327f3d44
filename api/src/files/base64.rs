//! Files as text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use super::Fault;

/// The bytes of `text`: base64 of either alphabet, padded or not, alone or in a `data:` URI (RFC 2397).
pub(crate) fn from_base64(text: &str, max_bytes: usize) -> Result<Bytes, Fault> {
    let payload = match text.trim().strip_prefix("data:") {
        None => text.trim(),
        Some(uri) => match uri.split_once(',') {
            Some((header, payload)) if header.ends_with(";base64") => payload,
            _ => return Err(Fault::NotBase64("a data: URI must say `;base64,`".to_owned())),
        },
    };
    // Before decoding, so that the refusal costs no memory.
    if payload.len() / 4 * 3 > max_bytes.saturating_add(2) {
        return Err(Fault::TooLarge { limit: max_bytes });
    }
    let alphabet = if payload.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = GeneralPurpose::new(alphabet, config).decode(payload);
    bytes.map(Bytes::from).map_err(|error| Fault::NotBase64(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_comes_in_every_spelling_that_clients_use() {
        let bytes = [0xfb_u8, 0xff, 0xfe, 0x01];
        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", " +//+AQ==\n", "data:image/png;base64,+//+AQ=="] {
            assert_eq!(from_base64(text, 100).as_deref(), Ok(&bytes[..]), "{text}");
        }
        for text in ["data:image/png,abc", "data:image/png;base64", "a b c d", "###"] {
            assert!(matches!(from_base64(text, 100), Err(Fault::NotBase64(_))), "{text}");
        }
        assert_eq!(from_base64(&"A".repeat(400), 100), Err(Fault::TooLarge { limit: 100 }));
    }
}
