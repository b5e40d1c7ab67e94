//! Request identity and W3C trace context (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

/// The context that travels in the header `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Identity of the whole trace; never zero.
    pub trace_id: u128,
    /// Identity of the caller's span; never zero.
    pub parent_id: u64,
    /// Whether the caller records its part.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header. `None` when it is malformed, in which case a new trace begins; versions to come
    /// may append to it.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(header).ok()?;
        let mut parts = text.trim().splitn(5, '-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32)?;
        let parent_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = hex(parts.next()?, 2)?;
        let appended = parts.next().is_some();
        let valid = version != 0xff && trace_id != 0 && parent_id != 0 && (version != 0 || !appended);
        valid.then_some(Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
        })
    }

    /// A new trace.
    pub fn start(sampled: bool) -> Self {
        Self {
            trace_id: fastrand::u128(1..),
            parent_id: fastrand::u64(1..),
            sampled,
        }
    }

    /// The context to send on: the same trace with a span of our own.
    #[must_use]
    pub fn child(self) -> Self {
        Self {
            parent_id: fastrand::u64(1..),
            ..self
        }
    }
}

/// The header's value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace_id,
            self.parent_id,
            u8::from(self.sampled)
        )
    }
}

/// Lower case only, as the recommendation demands.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// A random UUID (version 4) for the header `x-request-id`: an identity, not a secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// A new one, without allocation.
    pub fn new() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let version_and_variant = !0xf000_c000_0000_0000_0000_u128;
        let value = fastrand::u128(..) & version_and_variant | 0x4000_8000_0000_0000_0000_u128;
        let mut text = [b'-'; 36];
        let digits = text
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23));
        for (nibble, (_, place)) in value
            .to_be_bytes()
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .zip(digits)
        {
            *place = DIGITS[usize::from(nibble)];
        }
        Self(text)
    }

    /// The 36 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits and hyphens are ASCII")
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext::parse(good.as_bytes()).expect("the recommendation's own example");
        assert_eq!(context.to_string(), good);
        assert!(context.sampled);
        let child = context.child();
        assert_eq!((child.trace_id, child.sampled), (context.trace_id, true));
        assert_ne!(child.parent_id, context.parent_id);
        assert!(
            TraceContext::parse(b"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what").is_some()
        );
        assert_eq!(
            TraceContext::parse(TraceContext::start(false).to_string().as_bytes()).map(|c| c.sampled),
            Some(false)
        );
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn request_ids_are_random_uuids() {
        let (one, two) = (RequestId::new(), RequestId::new());
        assert_ne!(one, two);
        for id in [one, two] {
            let text = id.as_str().as_bytes();
            assert_eq!(
                (text[8], text[13], text[18], text[23]),
                (b'-', b'-', b'-', b'-'),
                "{id}"
            );
            assert_eq!(text[14], b'4', "{id}");
            assert!(matches!(text[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        }
    }
}
