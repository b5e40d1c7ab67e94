//! Legal, ambiguous and refused targets.

use proptest::prelude::*;

use super::*;

#[test]
fn paths_in_normal_form_are_borrowed() {
    for path in [
        "/100%25x/%25%25/2f",
        "/",
        "/a/b/",
        "/a.b/..c/.d/e..",
        "/a%20b/%E2%82%AC/%C3%A9",
        "/a;v=1/b,c/d@e:f!$&'()*+=~_-",
        "/100%25",
        "/%3F%23%3B%2C%5B%7C%22",
        "/...",
        "/a/;x=1",
    ] {
        let target = Target::parse(path, "h").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((&*target.path, target.ambiguities), (path, Ambiguities::NONE));
        assert!(matches!(target.path, Cow::Borrowed(_)), "{path}");
        assert!(matches!(normal_path(path), Cow::Borrowed(_)), "{path}");
    }
    let target = Target::parse("/a?b=%&c=//..%2f?d%41", "h").expect("legal");
    assert_eq!(
        (&*target.path, target.query, target.ambiguities),
        ("/a", Some("b=%&c=//..%2f?d%41"), Ambiguities::NONE)
    );
    assert_eq!(Target::parse("/a?", "h").expect("legal").query, Some(""));
}

#[test]
fn equal_paths_have_one_normal_form() {
    for (path, want) in [
        ("/%6de", "/me"),
        ("/%4D%65", "/Me"),
        ("/%30%2d%2E%5f%7E", "/0-._~"),
        ("/a%3ab%3A%40", "/a:b:@"),
        ("/%c3%A9/%2c%3b", "/%C3%A9/%2C%3B"),
        ("/{a}|b^`\"<>[c]", "/%7Ba%7D%7Cb%5E%60%22%3C%3E%5Bc%5D"),
        (
            "/%7ba%7d%7cb%5e%60%22%3c%3e%5bc%5d",
            "/%7Ba%7D%7Cb%5E%60%22%3C%3E%5Bc%5D",
        ),
        ("/%41%25%41x", "/A%25Ax"),
        ("/a%20%41", "/a%20A"),
    ] {
        let target = Target::parse(path, "h").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(
            (&*target.path, target.ambiguities),
            (want, Ambiguities::NONE),
            "{path}"
        );
        assert_eq!(normal_path(path), want, "{path}");
        assert_eq!(normal_path(want), want, "{path}");
    }
    // Refused unless the API opts in, which then gets one form as well.
    for (path, want) in [
        ("/a%2f%2F//b", "/a%2F%2F//b"),
        ("/a\\b%5cc", "/a%5Cb%5Cc"),
        ("/%2e%2E/b", "/../b"),
        ("/a%25%32f", "/a%252f"),
    ] {
        let target = Target::parse(path, "h").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(
            (&*target.path, target.ambiguities.is_empty()),
            (want, false),
            "{path}"
        );
    }
}

#[test]
fn literal_text_has_a_normal_form_whatever_it_holds() {
    for (text, want) in [
        ("", ""),
        ("größe", "gr%C3%B6%C3%9Fe"),
        ("my path\t\u{7f}", "my%20path%09%7F"),
        ("100%", "100%25"),
        ("%zz%2", "%25zz%252"),
        ("%+1", "%25+1"),
        ("%25", "%25"),
        ("a?b#c", "a%3Fb%23c"),
        ("%é0", "%25%C3%A90"),
    ] {
        assert_eq!(normal_path(text), want, "{text}");
        assert_eq!(normal_path(want), want, "{text}");
    }
}

#[test]
fn other_readings_decode_delimiters_and_cut_parameters() {
    use Ambiguity::{EncodedDelimiter as Decoded, PathParameter as Cut};
    let cases: [(&str, &[(Ambiguity, &str)]); 7] = [
        ("/a,b=c/d", &[]),
        ("/%20%25%C3%A9", &[]),
        ("/a;v=1/b;c", &[(Cut, "/a/b")]),
        ("/a/;x", &[(Cut, "/a/")]),
        ("/a%2Cb%20", &[(Decoded, "/a,b%20")]),
        ("/a%3Bb", &[(Decoded, "/a;b"), (Cut, "/a")]),
        (
            "/a%2cb%3bc;d",
            &[
                (Decoded, "/a,b;c;d"),
                (Cut, "/a%2Cb%3Bc"),
                (Cut, "/a,b"),
                (Cut, "/a,b;c"),
            ],
        ),
    ];
    for (path, want) in cases {
        let readings = Target::parse(path, "h").expect(path).readings().expect("few");
        let got: Vec<_> = readings.iter().map(|(reason, path)| (*reason, &**path)).collect();
        assert_eq!(got, want, "{path}");
    }
    let many = format!("/{}", ";".repeat(Target::MAX_DELIMITERS + 1));
    assert_eq!(Target::parse(&many, "h").expect("short").readings(), Err(Decoded));
    let escapes = format!("/{}", "%20".repeat(2_000));
    assert_eq!(
        Target::parse(&escapes, "h").expect("short").readings(),
        Ok(Vec::new())
    );
}

/// They are part of a name, and stay so.
#[test]
fn escaped_ends_of_a_path_go_on_as_sent() {
    for path in ["/what%3F", "/a%3Fb=c%23d/e", "/%23%3F/admin"] {
        let target = Target::parse(path, "h").expect(path);
        assert_eq!((&*target.path, target.query), (path, None));
        assert!(target.ambiguities.iter().next().is_none(), "{path}");
        assert_eq!(target.admit(crate::Permitted::NONE), Ok(()), "{path}");
        assert_eq!(target.readings(), Ok(Vec::new()), "{path}");
    }
}

#[test]
fn two_readings_are_named() {
    use Ambiguity::*;
    for (path, want) in [
        ("/a%2Fb", EncodedSlash),
        ("/a%2fb", EncodedSlash),
        ("/a%5Cb", EncodedBackslash),
        ("/a%5cb", EncodedBackslash),
        ("/a\\b", Backslash),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/;x/a", EmptySegment),
        ("/a/%3bx=1/", EmptySegment),
        ("/a/../b", DotSegment),
        ("/a/./b", DotSegment),
        ("/..", DotSegment),
        ("/a/.", DotSegment),
        ("/a/%2e%2E/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a/..;/b", DotSegment),
        ("/a/.;x=../b", DotSegment),
        ("/a/..%3bx", DotSegment),
        ("/a%00b", EncodedControl),
        ("/a%0d%0ab", EncodedControl),
        ("/a%7f", EncodedControl),
        ("/a%252e", DoubleEncoding),
        ("/a%25ff", DoubleEncoding),
        ("/a%25%32f", DoubleEncoding),
        ("/a%25%25%32%66", DoubleEncoding),
        ("/a%c0%af", OverlongUtf8),
        ("/a%C1%81", OverlongUtf8),
        ("/a%e0%80%af", OverlongUtf8),
        ("/a%f0%80%80%af", OverlongUtf8),
    ] {
        let target = Target::parse(path, "h").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(target.ambiguities, Ambiguities::from_iter([want]), "{path}");
        let taken = if want.is_permissible() { Ok(()) } else { Err(want) };
        assert_eq!(
            (target.admit(Permitted::NONE), target.admit(Permitted::ALL)),
            (Err(want), taken),
            "{path}"
        );
    }
}

#[test]
fn every_kind_in_a_path_must_be_permitted() {
    use Ambiguity::*;
    let (slash, empty) = (Permitted::ENCODED_SLASH, Permitted::EMPTY_SEGMENT);
    type Case = (
        &'static str,
        &'static [Ambiguity],
        Permitted,
        Result<(), Ambiguity>,
    );
    let cases: [Case; 9] = [
        (
            "/a%2F/b//c",
            &[EmptySegment, EncodedSlash],
            slash,
            Err(EmptySegment),
        ),
        (
            "/a//b%2fc",
            &[EmptySegment, EncodedSlash],
            empty,
            Err(EncodedSlash),
        ),
        ("/a//b%2fc", &[EmptySegment, EncodedSlash], slash | empty, Ok(())),
        (
            "/a%2F%252F%5C",
            &[DoubleEncoding, EncodedBackslash, EncodedSlash],
            slash | Permitted::DOUBLE_ENCODING,
            Err(EncodedBackslash),
        ),
        (
            "/a%2F%252F%5C//",
            &[DoubleEncoding, EmptySegment, EncodedBackslash, EncodedSlash],
            Permitted::ALL,
            Ok(()),
        ),
        (
            "/a%2F\\b",
            &[Backslash, EncodedSlash],
            Permitted::ALL,
            Err(Backslash),
        ),
        (
            "/a%2F/../b",
            &[DotSegment, EncodedSlash],
            Permitted::ALL,
            Err(DotSegment),
        ),
        (
            "/a//%00",
            &[EmptySegment, EncodedControl],
            Permitted::ALL,
            Err(EncodedControl),
        ),
        (
            "/a//%c0%af",
            &[EmptySegment, OverlongUtf8],
            Permitted::ALL,
            Err(OverlongUtf8),
        ),
    ];
    for (path, found, permitted, want) in cases {
        let target = Target::parse(path, "h").unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(target.ambiguities, found.iter().copied().collect(), "{path}");
        assert_eq!(target.admit(permitted), want, "{path} {permitted:?}");
    }
}

#[test]
fn what_may_be_permitted_has_readings() {
    use Ambiguity::*;
    let cases: [(&str, &[(Ambiguity, &str)]); 7] = [
        ("/a%2fb", &[(EncodedSlash, "/a/b")]),
        ("/a%5cb", &[(EncodedBackslash, "/a/b")]),
        ("//a///b/", &[(EmptySegment, "/a/b/")]),
        ("/a%252Fb", &[(DoubleEncoding, "/a%2Fb"), (EncodedSlash, "/a/b")]),
        // Decoded twice, unreserved characters are what they are.
        ("/a%2541%25c3%25a9", &[(DoubleEncoding, "/aA%C3%A9")]),
        ("/a%2F%2Fb", &[(EncodedSlash, "/a//b"), (EncodedSlash, "/a/b")]),
        (
            "/a//b%2Fc;d",
            &[
                (PathParameter, "/a//b%2Fc"),
                (EmptySegment, "/a/b%2Fc;d"),
                (EncodedSlash, "/a//b/c;d"),
                (EmptySegment, "/a/b%2Fc"),
                (EncodedSlash, "/a//b/c"),
                (EncodedSlash, "/a/b/c;d"),
                (EncodedSlash, "/a/b/c"),
            ],
        ),
    ];
    for (path, want) in cases {
        let target = Target::parse(path, "h").expect(path);
        let readings = target.readings().expect("few");
        let got: Vec<_> = readings.iter().map(|(kind, path)| (*kind, &**path)).collect();
        assert_eq!(got, want, "{path}");
    }
}

#[test]
fn what_nobody_may_permit_is_found_in_every_reading() {
    use Ambiguity::*;
    for (path, want) in [
        ("/public%2F..%2Fadmin", DotSegment),
        ("/public%2F..", DotSegment),
        ("/..%2Fadmin", DotSegment),
        ("/a%2F.;x", DotSegment),
        ("/a%5C..%5Cb", DotSegment),
        ("/a%5C..%2Fb", DotSegment),
        ("/%252e%252e/a", DotSegment),
        ("/%25252e%25252e/a", DotSegment),
        ("/a%252F..%252Fb", DotSegment),
        ("/a%252500", EncodedControl),
        ("/a%2500", EncodedControl),
        ("/a%25c0%25af", OverlongUtf8),
        ("/a%E0%2580%25AF", OverlongUtf8),
        ("/a%255C..%255C", DotSegment),
    ] {
        let target = Target::parse(path, "h").expect(path);
        assert_eq!(target.admit(Permitted::ALL), Ok(()), "{path}");
        assert_eq!(target.readings(), Err(want), "{path}");
    }
}

#[test]
fn readings_are_bounded() {
    use Ambiguity::*;
    // 25252525…: each pass gives another reading.
    let nested = format!("/%{}2F", "25".repeat(200));
    let long = |piece: &str| format!("/{}", piece.repeat((Target::MAX_BYTES - 8) / piece.len()));
    for (path, want) in [
        (nested.as_str(), Err(DoubleEncoding)),
        (&long("25").replacen("/25", "/%25", 1), Err(DoubleEncoding)),
        (&long("a%2F%5C%252F//"), Err(DoubleEncoding)),
        (&long("%2F"), Ok(2)),
        (&long("/"), Ok(1)),
    ] {
        let target = Target::parse(path, "h").expect("short");
        let got = target.readings().map(|readings| readings.len());
        assert_eq!(got, want, "{}", path.get(..40).unwrap_or(path));
    }
}

#[test]
fn what_no_route_may_accept_is_refused() {
    let long = format!("/{}", "a".repeat(Target::MAX_BYTES));
    for (target, want) in [
        ("", Refused::NotAPath),
        ("*", Refused::NotAPath),
        ("http://h/", Refused::NotAPath),
        ("?a", Refused::NotAPath),
        ("/a#b", Refused::Fragment),
        ("/a?b#c", Refused::Fragment),
        ("/a b", Refused::Space),
        ("/a\tb", Refused::Control),
        ("/a\0b", Refused::Control),
        ("/a?b\u{7f}", Refused::Control),
        ("/é", Refused::NonAscii),
        ("/a?é", Refused::NonAscii),
        ("/a%", Refused::InvalidEscape),
        ("/a%2", Refused::InvalidEscape),
        ("/a%zz", Refused::InvalidEscape),
        ("/a%u002f", Refused::InvalidEscape),
        ("//a%zz", Refused::InvalidEscape),
        (&long, Refused::TooLong),
    ] {
        assert_eq!(Target::parse(target, "h").expect_err(target), want, "{target}");
    }
}

#[test]
fn hosts_are_canonical_or_refused() {
    for (authority, name, port) in [
        ("localhost", "localhost", None),
        ("LocalHost:9090", "localhost", Some(9090)),
        ("example.com.", "example.com", None),
        ("Example.com.:80", "example.com", Some(80)),
        ("my_service.local", "my_service.local", None),
        ("10.0.0.1:1", "10.0.0.1", Some(1)),
        ("h:", "h", None),
        ("[::1]:", "[::1]", None),
        ("[::1]", "[::1]", None),
        ("[FE80::1]:443", "[fe80::1]", Some(443)),
    ] {
        let host = Host::parse(authority).unwrap_or_else(|error| panic!("{authority}: {error}"));
        assert_eq!((&*host.name, host.port), (name, port), "{authority}");
    }
    let long = "a.".repeat(127) + "a";
    let label = "a".repeat(64);
    for authority in [
        "",
        ".",
        "a..b",
        ".a",
        "a..",
        "user@h",
        "h:x",
        "h:65536",
        "h:+1",
        "h:1:2",
        "a b",
        "a/b",
        "-a",
        "a-",
        "é",
        "[::1",
        "[::1]x",
        "[v1.a]",
        "[fe80::1%eth0]",
        "a*",
        "h\0",
        &long,
        &label,
    ] {
        assert_eq!(Host::parse(authority), Err(Refused::Host), "{authority:?}");
    }
}

/// What a lax server may make of a path: decoded, backslashes turned, slashes merged, dots resolved.
fn lax(path: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = path.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        let (byte, rest) = (byte == b'%')
            .then(|| escape(rest))
            .flatten()
            .unwrap_or((byte, rest));
        decoded.push(if byte == b'\\' { b'/' } else { byte });
        bytes = rest;
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" if segment.is_empty() => {}
            b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    segments.join(&b'/')
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn an_unambiguous_path_has_the_same_segments_for_a_lax_server(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "/", "a", "b", ".", "..", "%2e", "%2f", "%5c", "\\", ";", "%25", "%41", "2f", "%32", "%66", "4",
                "1", "%3b", "%C3%A9",
            ]),
            0..12,
        ),
    ) {
        let path = format!("/{}", pieces.concat());
        if let Ok(Target { path, ambiguities: Ambiguities::NONE, .. }) = Target::parse(&path, "h") {
            let own = path.split('/').filter(|segment| !segment.is_empty()).count();
            let text = lax(&path);
            let again = String::from_utf8_lossy(&text).into_owned();
            let theirs = text.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).count();
            prop_assert_eq!(own, theirs, "{}", path);
            // Decoding again changes nothing.
            prop_assert!(!again.contains("%2f") && !again.contains("%41"), "{}", path);
        }
    }

    #[test]
    fn what_a_lax_server_makes_of_a_permitted_path_is_a_reading(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "/", "a", "b", ".", "..", "%2e", "%2F", "%5c", ";", "%25", "%41", "2f", "2e", "%252F", "%255c", "//", "%3b", "x",
            ]),
            0..10,
        ),
    ) {
        let path = format!("/{}", pieces.concat());
        let Ok(target) = Target::parse(&path, "h") else { return Ok(()) };
        if target.admit(Permitted::ALL).is_err() {
            return Ok(());
        }
        let Ok(readings) = target.readings() else { return Ok(()) };
        // Decoded once, or twice: no dots are left to resolve, and the segments are those of the path or of a reading.
        let all = || readings.iter().map(|(_, path)| path.as_str()).chain([&*target.path]);
        prop_assert!(all().all(|path| path.split('/').all(|name| !matches!(name, "." | ".."))), "{}", path);
        let known: Vec<Vec<u8>> = all().map(lax).collect();
        let once = lax(&path);
        let twice = lax(&format!("/{}", String::from_utf8_lossy(&once)));
        for text in [once, twice] {
            prop_assert!(known.contains(&text), "{} of {}", String::from_utf8_lossy(&text), path);
        }
    }

    #[test]
    fn nothing_panics(target in "\\PC*", host in "\\PC*") {
        drop(Target::parse(&target, &host));
        drop(Host::parse(&host));
    }
}
