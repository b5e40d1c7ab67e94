//! Characters that the parser of YAML refuses and YAML allows.
//!
//! Quoted text may hold every character but those below U+0020 (YAML 1.2.2 section 5.1: processors "must allow all non-C0 characters
//! inside quoted scalars"); the parser takes the printable ones alone, in quotes as elsewhere. Another parser is no way out: those in
//! Rust refuse what real files have more often, pairs of escapes beyond the first plane or tabs behind a colon. Escapes aren't either,
//! for they have a meaning in double quotes only. So while a text is parsed, each of these characters is a private one that it
//! doesn't have. Places in the text stay what they are, since they are counted in characters.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The private characters that stand for U+0000 to U+00FF: their first, divided by 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StandIn(u32);

impl StandIn {
    /// U+007F to U+009F, without U+0085, which counts as printable.
    pub(super) fn is_needed(c: char) -> bool {
        matches!(c, '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}')
    }

    /// The text with stand-ins, if it needs any.
    pub(super) fn prepare(text: &str) -> (Cow<'_, str>, Option<Self>) {
        let stand_in = text.contains(Self::is_needed).then(|| Self::free(text)).flatten();
        let Some(stand_in) = stand_in else {
            return (text.into(), None);
        };
        let prepared = text
            .chars()
            .map(|c| if Self::is_needed(c) { stand_in.of(c) } else { c });
        (Cow::Owned(prepared.collect()), Some(stand_in))
    }

    /// Characters that the text has neither as they are nor as an escape. There are some unless it was made to have them all.
    fn free(text: &str) -> Option<Self> {
        let mut taken: BTreeSet<u32> = text.chars().map(|c| u32::from(c) >> 8).collect();
        for (at, _) in text.match_indices('\\') {
            let after = text.get(at + 1..).unwrap_or_default();
            let digits = |len: usize| u32::from_str_radix(after.get(1..=len)?, 16).ok();
            if after.starts_with('U') {
                taken.extend(digits(8).map(|code| code >> 8));
            }
            // The first half of a pair stands for a thousand characters.
            if let Some(half @ 0xD800..0xDC00) = digits(4).filter(|_| after.starts_with('u')) {
                let first = 0x100 + ((half - 0xD800) << 2);
                taken.extend(first..first + 4);
            }
        }
        // Planes 15 and 16 are private but for the last two characters of each.
        let private = (0xF00..0xFFF).chain(0x1000..0x10FF);
        private.map(Self).find(|stand_in| !taken.contains(&stand_in.0))
    }

    fn of(self, c: char) -> char {
        char::from_u32(self.0 << 8 | u32::from(c)).unwrap_or(c)
    }

    fn is_one(self, c: char) -> bool {
        u32::from(c) >> 8 == self.0
    }

    /// The text has some.
    pub(super) fn is_in(self, text: &str) -> bool {
        text.contains(|c| self.is_one(c))
    }

    /// The text that was meant.
    pub(super) fn restored(self, text: &str) -> String {
        let original = |c: char| char::from_u32(u32::from(c) & 0xFF).filter(|_| self.is_one(c));
        text.chars().map(|c| original(c).unwrap_or(c)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for text in [
            "a\u{7f}b\u{80}\u{84}\u{86}\u{9f}",
            "\u{7f}\u{f0000}\u{f0100}\u{f02ff}",
            "\u{7f} \\U000F0001 \\udb80\\udc00 \\UZ \\u \\",
        ] {
            let (prepared, stand_in) = StandIn::prepare(text);
            let stand_in = stand_in.unwrap();
            assert!(!prepared.contains(StandIn::is_needed), "{text:?}");
            assert_eq!(prepared.chars().count(), text.chars().count());
            assert_eq!(stand_in.restored(&prepared), text);
        }
    }

    #[test]
    fn stand_ins_are_nowhere_in_the_text() {
        let cases = [
            ("\u{7f}", 0xF00),
            ("\u{7f}\u{f0000}\u{f02ff}", 0xF01),
            ("\u{7f}\\U000F0000\\U000f01ff", 0xF02),
            // Four times 256 characters have this first half.
            ("\u{7f}\\uDB80", 0xF04),
            ("\u{7f}\\u0041\\U00000041", 0xF00),
        ];
        for (text, want) in cases {
            assert_eq!(StandIn::prepare(text).1, Some(StandIn(want)), "{text:?}");
        }
        assert_eq!(StandIn::prepare("a\u{85}\u{a0}ä").1, None);
        let all: String = (0xF00..0x1100)
            .filter_map(|block| char::from_u32(block << 8))
            .collect();
        assert_eq!(StandIn::prepare(&format!("{all}\u{7f}")).1, None);
    }
}
