//! Checksums of what passes through.

use sha2::{Digest, Sha256};

/// What was read or written: its size and checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// CRC32C (Castagnoli), which Cloud Storage keeps beside each object.
    pub crc32c: u32,
}

impl Stored {
    /// The size and checksums of `content`.
    pub fn of(content: &[u8]) -> Self {
        let mut digester = Digester::default();
        digester.update(content);
        digester.finish()
    }
}

/// Computes [`Stored`] of a content that comes in pieces.
#[derive(Clone, Default)]
pub struct Digester {
    bytes: u64,
    sha256: Sha256,
    crc32c: u32,
}

impl Digester {
    /// Takes in the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.sha256.update(piece);
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
    }

    /// The size and checksums of all pieces together.
    pub fn finish(self) -> Stored {
        Stored { bytes: self.bytes, sha256: hex::encode(self.sha256.finalize()), crc32c: self.crc32c }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values that RFC 3720 (CRC32C) and FIPS 180 (SHA-256) publish.
    #[test]
    fn checksums_are_the_published_ones_however_the_content_is_cut() {
        assert_eq!(Stored::of(b"123456789").crc32c, 0xe306_9283);
        let whole = Stored::of(b"abc");
        assert_eq!(whole.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut digester = Digester::default();
        digester.update(b"a");
        digester.update(b"bc");
        assert_eq!(digester.finish(), whole);
    }
}
