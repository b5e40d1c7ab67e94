//! Text from outside on its way into a line: nothing in it may end the line, move the cursor or close a quote.

use std::io::Write as _;

/// Appends `text` with control characters, quotes and backslashes escaped as in JSON strings, so that a format that
/// looks like JSON gives JSON. Bytes that are not UTF-8 become `\ufffd`.
pub(crate) fn append(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| is_plain(*byte)) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            append_char(out, c);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

fn append_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        // Line and paragraph separator end a line for many readers, though they are no control characters.
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
            write!(out, "\\u{:04x}", u32::from(c)).expect("a vector takes any bytes");
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends `text` with only what would break a line or steer a terminal escaped: for messages of our own, in which
/// quotes are wanted.
pub(crate) fn append_line(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out() {
        let cases: [(&[u8], &str); 7] = [
            (b"curl/8.1 (x; y)", "curl/8.1 (x; y)"),
            (b"a\r\nb", "a\\u000d\\u000ab"),
            (b"x\" 200 \"", "x\\\" 200 \\\""),
            (b"back\\slash", "back\\\\slash"),
            ("käse \u{9b}31m \u{2028}".as_bytes(), "käse \\u009b31m \\u2028"),
            (b"\xff\xfeok", "\\ufffd\\ufffdok"),
            (b"\x1b[31mred\x7f\0", "\\u001b[31mred\\u007f\\u0000"),
        ];
        for (text, want) in cases {
            let mut out = Vec::new();
            append(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{text:?}");
        }
    }

    #[test]
    fn messages_stay_on_one_line() {
        let mut out = String::new();
        append_line(&mut out, "say \"hi\"\nFAKE \u{1b}[2J");
        assert_eq!(out, "say \"hi\"\\nFAKE \\u{1b}[2J");
    }
}
