//! Stable ids.

use std::fmt::Write;

use sha1::{Digest, Sha1};

/// SHA-1 of `name:version` in lower-case hexadecimal: the id of an API that has none, and part of the names of the
/// environment variables that override its endpoints.
#[must_use]
pub fn digest(name: &str, version: &str) -> String {
    hex(&Sha1::digest(format!("{name}:{version}").as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String can't fail.
            let _written = write!(out, "{byte:02x}");
            out
        })
}

/// A UUID of version 5 over the parts: the same for the same input, unlike the random ones of the original, so that a
/// repeated deploy changes nothing.
pub(crate) fn name_based(parts: &[&str]) -> String {
    let mut hash = Sha1::new();
    hash.update(b"trireme.openapi");
    for part in parts {
        hash.update([0]);
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.iter_mut().zip(&digest).for_each(|(to, from)| *to = *from);
    bytes[6] = (bytes[6] & 0x0f) | 0x50;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    let mut out = String::with_capacity(36);
    for (index, digit) in text.chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(
            digest("PizzaShackAPI", "1.0.0"),
            "225943b3eb2ba89b79572ed7249c2bfff284bef7"
        );
        let id = name_based(&["a", "/pets"]);
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'5');
        assert_eq!(id, name_based(&["a", "/pets"]));
        assert_ne!(name_based(&["a", "b"]), name_based(&["ab"]));
    }
}
