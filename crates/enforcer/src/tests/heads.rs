//! Heads of tokens with small changes, read a second time: by the RFCs alone and without a library. What is admitted, and why
//! the rest isn't, must be the same. Every token is signed by ours over the head as it is, so that nothing but the head decides.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::fixture::*;
use super::jwks::{KeyServer, jwk_with};
use super::model::Dice;

/// One token each. A failure names its seed.
const SEEDS: RangeInclusive<u64> = 1..=200;

/// Members of heads that are good.
const HEADS: [&[(&str, &str)]; 4] = [
    &[("alg", r#""RS256""#), ("typ", r#""JWT""#)],
    &[("typ", r#""at+jwt""#), ("alg", r#""RS384""#), ("kid", r#""a""#)],
    &[("x5t", r#""NmJm""#), ("kid", r#""c""#), ("alg", r#""RS512""#)],
    &[
        ("kid", r#""a""#),
        ("x", r#"{"y":[1,true]}"#),
        ("typ", "null"),
        ("alg", r#""RS256""#),
    ],
];
const NAMES: [&str; 9] = [
    "alg",
    "kid",
    "typ",
    "crit",
    "b64",
    "jku",
    "Alg",
    r"\u0061lg",
    "k id",
];
const VALUES: [&str; 28] = [
    r#""RS256""#,
    r#""RS384""#,
    r#""RS512""#,
    r#""RS25\u0036""#,
    r#""rs256""#,
    r#""PS256""#,
    r#""none""#,
    r#""JWT""#,
    r#""jwt""#,
    r#""Application/JWT""#,
    r#""AT+jwt""#,
    r#""application/at+jwt""#,
    r#""dpop+jwt""#,
    r#""application\/""#,
    r#""a""#,
    r#""\u0061""#,
    r#""b""#,
    r#""c""#,
    r#""d""#,
    r#""""#,
    "null",
    "5",
    "-0.5",
    "01",
    "true",
    r#"["exp"]"#,
    "[]",
    "{}",
];
const BYTES: &[u8] = b"\"\"{}[]::,,\\\\ \t\n015.-+eEnultr/aAK\x00\x1f\x7f\xc3\xc3\xff\xff";
const LETTERS: &[u8] = b"AZaz09-_+/=.%";

/// A JSON value, as far as heads need it.
#[derive(Debug, Clone, PartialEq)]
enum Read {
    Null,
    Text(String),
    Object(Vec<(String, Self)>),
    Other,
}

/// A reader of RFC 8259, by the letter.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn document(text: &str) -> Option<Read> {
        let mut reader = Reader(text);
        let value = reader.value()?;
        reader.blank();
        reader.0.is_empty().then_some(value)
    }

    fn blank(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn takes(&mut self, start: &str) -> bool {
        let rest = self.0.strip_prefix(start);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn digits(&mut self) -> Option<&str> {
        let rest = self.0.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = self.0.strip_suffix(rest)?;
        self.0 = rest;
        Some(digits).filter(|digits| !digits.is_empty())
    }

    fn value(&mut self) -> Option<Read> {
        self.blank();
        for (word, value) in [
            ("null", Read::Null),
            ("true", Read::Other),
            ("false", Read::Other),
        ] {
            if self.takes(word) {
                return Some(value);
            }
        }
        if self.takes("\"") {
            return self.text().map(Read::Text);
        }
        if self.takes("{") {
            let mut members = Vec::new();
            self.list("}", |reader| {
                reader.blank();
                let name = reader.takes("\"").then(|| reader.text())??;
                reader.blank();
                let value = reader.takes(":").then(|| reader.value())??;
                members.push((name, value));
                Some(())
            })?;
            return Some(Read::Object(members));
        }
        if self.takes("[") {
            self.list("]", |reader| reader.value().map(drop))?;
            return Some(Read::Other);
        }
        self.takes("-");
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        if self.takes(".") {
            self.digits()?;
        }
        if self.takes("e") || self.takes("E") {
            let _ = self.takes("+") || self.takes("-");
            self.digits()?;
        }
        Some(Read::Other)
    }

    fn list(&mut self, end: &str, mut one: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.blank();
        if self.takes(end) {
            return Some(());
        }
        loop {
            one(self)?;
            self.blank();
            if self.takes(end) {
                return Some(());
            }
            self.takes(",").then_some(())?;
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let next = self.0.chars().next()?;
            self.0 = self.0.get(next.len_utf8()..)?;
            match next {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                '\0'..' ' => return None,
                _ => text.push(next),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let next = self.0.chars().next()?;
        self.0 = self.0.get(next.len_utf8()..)?;
        let at = "\"\\/bfnrt".find(next);
        if let Some(at) = at {
            return "\"\\/\u{8}\u{c}\n\r\t".chars().nth(at);
        }
        let digits = self.0.get(..4).filter(|_| next == 'u')?;
        self.0 = self.0.get(4..)?;
        // Pairs don't come up: nothing here makes one.
        let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| all)?)
    }
}

/// Base64url (RFC 4648 §5), where bits that say nothing are zero; padded or not.
fn decoded(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bare = text.strip_suffix('=').unwrap_or(text);
    let bare = bare.strip_suffix('=').unwrap_or(bare);
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in bare.chars() {
        held = held << 6 | u32::try_from(ALPHABET.find(letter)?).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    (bits < 6 && held == 0).then_some(bytes)
}

/// What a token with this head is, and the algorithm to sign it with.
fn expected(encoded: &str) -> (&'static str, String) {
    let any = "RS256".to_owned();
    if encoded.contains('.') {
        return ("no_credentials", any);
    }
    let text = decoded(encoded).and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(Read::Object(members)) = text.and_then(|text| Reader::document(&text)) else {
        return ("not_a_token", any);
    };
    // A name may be there once (RFC 7515 §4).
    let mut found = BTreeMap::new();
    for (name, value) in members {
        let known = ["alg", "crit", "kid", "typ"].contains(&name.as_str());
        if found.insert(name, value).is_some() && known {
            return ("not_a_token", any);
        }
    }
    let Some(Read::Text(algorithm)) = found.get("alg").cloned() else {
        return ("token_invalid", any);
    };
    let types = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
    let refused = !["RS256", "RS384", "RS512"].contains(&algorithm.as_str())
        || found.contains_key("crit")
        || match found.get("typ") {
            None | Some(Read::Null) => false,
            Some(Read::Text(typ)) => !types.contains(&typ.to_ascii_lowercase().as_str()),
            Some(Read::Object(_) | Read::Other) => true,
        };
    let label = match found.get("kid") {
        Some(Read::Object(_) | Read::Other) => "token_invalid",
        _ if refused => "token_invalid",
        None | Some(Read::Null) => "admitted",
        Some(Read::Text(kid)) => match (kid.as_str(), algorithm.as_str()) {
            ("" | "a", _) | ("c", "RS512") => "admitted",
            ("b" | "c", _) => "token_invalid",
            _ => "unknown_key",
        },
    };
    (label, algorithm)
}

/// A head with one to three small changes, encoded.
fn head(dice: &mut Dice) -> String {
    let mut members = HEADS[dice.below(HEADS.len())].to_vec();
    let changes = 1 + dice.below(3);
    let kinds: Vec<_> = (0..changes).map(|_| dice.below(8)).collect();
    for kind in &kinds {
        let at = dice.below(members.len().max(1));
        match (kind, members.get_mut(at)) {
            (0, Some(member)) => member.0 = NAMES[dice.below(NAMES.len())],
            (1 | 2, Some(member)) => member.1 = VALUES[dice.below(VALUES.len())],
            (3, Some(_)) => drop(members.remove(at)),
            (4, _) => members.push((NAMES[dice.below(NAMES.len())], VALUES[dice.below(VALUES.len())])),
            _ => {}
        }
    }
    let members: Vec<_> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    let mut json = format!("{{{}}}", members.join(",")).into_bytes();
    for _ in kinds.iter().filter(|kind| matches!(kind, 5 | 6)) {
        change(&mut json, BYTES, dice);
    }
    let mut text = encode(json).into_bytes();
    for _ in kinds.iter().filter(|kind| **kind == 7) {
        change(&mut text, LETTERS, dice);
    }
    String::from_utf8(text).unwrap()
}

/// Another byte, one more, one less, another case, or two that change places.
fn change(text: &mut Vec<u8>, bytes: &[u8], dice: &mut Dice) {
    let at = dice.below(text.len());
    let byte = bytes[dice.below(bytes.len())];
    match dice.below(5) {
        0 => text[at] = byte,
        1 => text.insert(at, byte),
        2 => drop(text.remove(at)),
        3 => text[at] ^= 0x20 * u8::from(text[at].is_ascii_alphabetic()),
        _ => text.swap(at, at.saturating_sub(1)),
    }
}

#[tokio::test]
async fn heads_with_small_changes_are_read_as_the_standards_say() {
    let server = KeyServer::start(&json!({ "keys": [
        jwk_with("theirs", &json!({ "kid": "b", "alg": null })),
        jwk_with("ours", &json!({ "kid": "a", "alg": null })),
        jwk_with("ours", &json!({ "kid": "c", "alg": "RS512" })),
    ] }))
    .await;
    let world = World::new(policy(), server.only_settings());
    let claims = encode(claims().to_string());
    let mut answers: BTreeMap<_, usize> = BTreeMap::new();
    println!("seeds {SEEDS:?}");
    for seed in SEEDS {
        let mut dice = Dice(seed * 7919);
        let head = head(&mut dice);
        let (want, algorithm) = expected(&head);
        let signed = format!("{head}.{claims}");
        let token = format!("{signed}.{}", encode(sign(&KEYS.ours, &algorithm, &signed)));
        let found = world.waited(&token).await;
        let text = decoded(&head).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(found, want, "seed {seed}: {text:?}, encoded {head}");
        *answers.entry(want).or_default() += 1;
    }
    // A comparison over heads that all end in the same way would prove nothing.
    for label in ["admitted", "not_a_token", "token_invalid", "unknown_key"] {
        assert!(
            answers.get(label).is_some_and(|&count| count >= 5),
            "{label}: {answers:?}"
        );
    }
}

#[test]
fn the_second_reading_reads_as_the_library_does() {
    for value in VALUES.iter().chain(&[
        "1e5",
        "1.",
        ".5",
        "-",
        "[1,]",
        "{\"a\":1,}",
        "\"\\x\"",
        "tru",
        "\"\u{1}\"",
        "1 2",
    ]) {
        let library = serde_json::from_str::<Value>(value).ok();
        let read = Reader::document(value);
        let text = |read: &Read| match read {
            Read::Text(text) => Some(text.clone()),
            Read::Null | Read::Object(_) | Read::Other => None,
        };
        assert_eq!(read.is_some(), library.is_some(), "{value}");
        let of_library = library.and_then(|value| value.as_str().map(str::to_owned));
        assert_eq!(read.as_ref().and_then(text), of_library, "{value}");
    }
}
