use super::*;
use crate::document::diagnostic::Findings;
use crate::document::{Keep, parse};
use crate::{Limits, Severity};
use serde_json::json;

fn tree(text: &[u8], limits: &Limits) -> Result<(serde_json::Value, Vec<String>), String> {
    let mut findings = Findings::default();
    let value = parse("f", text, Keep::All, limits, &mut findings);
    let findings = findings.into_sorted();
    match value {
        Some(value) => Ok((value.to_json(), lines(&findings))),
        None => Err(findings
            .into_iter()
            .find(|finding| finding.severity == Severity::Error)
            .unwrap()
            .message),
    }
}

#[test]
fn real_files_have_everything() {
    let cases: [(&str, &[u8], serde_json::Value); 13] = [
        (
            "byte order mark, JSON",
            b"\xef\xbb\xbf {\"a\": 1}",
            json!({"a": 1}),
        ),
        ("byte order mark, YAML", b"\xef\xbb\xbfa: 1\n", json!({"a": 1})),
        (
            "CRLF",
            b"a:\r\n  b: c\r\n  d: |\r\n    x\r\n",
            json!({"a": {"b": "c", "d": "x\n"}}),
        ),
        (
            "numeric keys",
            b"responses:\n  200: {a: b}\n  404: {}\n",
            json!({"responses": {"200": {"a": "b"}, "404": {}}}),
        ),
        (
            "keys that look like flags",
            b"on: 1\noff: 2\nyes: 3\nno: 4\ntrue: 5\nnull: 6\n",
            json!({"on": 1, "off": 2, "yes": 3, "no": 4, "true": 5, "null": 6}),
        ),
        (
            "values that are flags in YAML 1.1",
            b"a: yes\nb: off\nc: 'no'\n",
            json!({"a": true, "b": false, "c": "no"}),
        ),
        ("tabs in JSON", b"{\n\t\"a\":\t[1,\t2]\n}\n", json!({"a": [1, 2]})),
        (
            "tabs after a key and in flow",
            b"a:\t1\nb: {\tc: 2\t}\n",
            json!({"a": 1, "b": {"c": 2}}),
        ),
        ("document marks", b"---\na: 1\n...\n", json!({"a": 1})),
        (
            "anchors and merges",
            b"x: &x {a: 1}\ny:\n  <<: *x\n  b: *x\n",
            json!({"x": {"a": 1}, "y": {"a": 1, "b": {"a": 1}}}),
        ),
        (
            "what stands beside merges wins, and the first of several",
            b"x: &x {a: 1}\ny: &y {a: 3, b: 4}\nz: {c: 5, <<: [*x, *y], a: 2}\nw: {<<: [*x, *y]}\n",
            json!({"x": {"a": 1}, "y": {"a": 3, "b": 4}, "z": {"c": 5, "a": 2, "b": 4}, "w": {"a": 1, "b": 4}}),
        ),
        (
            "numbers",
            b"a: 0x10\nb: -3\nc: 1.5\nd: .inf\ne: 1e999\n",
            json!({"a": 16, "b": -3, "c": 1.5, "d": null, "e": null}),
        ),
        (
            "non-ASCII text",
            "a: \u{e4}\u{1f600}\n".as_bytes(),
            json!({"a": "\u{e4}\u{1f600}"}),
        ),
    ];
    for (name, text, want) in cases {
        let got = tree(text, &Limits::default());
        assert_eq!(got, Ok((want, Vec::new())), "{name}");
    }
}

#[test]
fn broken_files_are_refused_with_their_place() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let cases: [(&str, Vec<u8>, &str); 13] = [
        (
            "not UTF-8",
            b"a: \xff\n".to_vec(),
            "not UTF-8 text: bad byte at offset 3",
        ),
        (
            "UTF-16",
            b"\xff\xfea\x00".to_vec(),
            "not UTF-8 text but UTF-16: save it as UTF-8",
        ),
        (
            "open JSON",
            b"{\"a\": ".to_vec(),
            "not valid JSON: EOF while parsing a value at line 1 column 6",
        ),
        (
            "rest after JSON",
            b"{} x".to_vec(),
            "not valid JSON: trailing characters at line 1 column 4",
        ),
        ("open YAML", b"a: [1,\nb: 2\n".to_vec(), "not valid YAML: "),
        (
            "two documents",
            b"a: 1\n---\nb: 2\n".to_vec(),
            "not valid YAML: the file has more than one document at line 2, column 1",
        ),
        (
            "tab as indentation",
            b"a:\n\tb: 1\n\tc: 2\n".to_vec(),
            "not valid YAML: ",
        ),
        ("unknown alias", b"a: *b\n".to_vec(), "not valid YAML: "),
        ("list as key", b"? [a]\n: 1\n".to_vec(), "not valid YAML: "),
        (
            "deep JSON",
            format!("{{\"a\": {}}}", nested(101)).into_bytes(),
            "not valid JSON: nested deeper than 100 levels",
        ),
        (
            "deep YAML",
            format!("a: {}\n", nested(101)).into_bytes(),
            "not valid YAML: ",
        ),
        (
            "deep blocks",
            (0..150)
                .map(|i| " ".repeat(i) + "a:\n")
                .collect::<String>()
                .into_bytes(),
            "not valid YAML: nested deeper than 100 levels at line 101, column 101",
        ),
        (
            "very deep YAML",
            (0..5_000)
                .map(|i| " ".repeat(i) + "a:\n")
                .collect::<String>()
                .into_bytes(),
            "not valid YAML: ",
        ),
    ];
    for (name, text, want) in cases {
        let got = tree(&text, &Limits::default()).expect_err(name);
        assert!(got.starts_with(want), "{name}: {got}");
        assert!(!got.contains('\n') && got.len() < 300, "{name}: {got}");
    }
    for text in [
        format!("{{\"a\": {}}}", nested(98)),
        format!("a: {}\n", nested(98)),
        format!("a: {}1{}\n", "{<<: [{b: ".repeat(32), "}]}".repeat(32)),
    ] {
        assert!(
            tree(text.as_bytes(), &Limits::default()).is_ok(),
            "98 levels are fine"
        );
    }
}

/// Quoted text may hold all but the lowest control characters (YAML 1.2.2 section 5.1).
#[test]
fn control_characters_in_quotes() {
    for c in ('\u{7f}'..='\u{9f}').chain(['\u{f0000}', '\u{fff9}']) {
        let want = json!({"a": format!("{c}x\u{7f}"), "b": c.to_string(), c.to_string(): "\u{f0000}\u{80}"});
        let text = format!("# {c}\na: \"{c}x\\x7F\"\nb: '{c}'\n'{c}': \"\\U000F0000\u{80}\" # {c}\n");
        let got = tree(text.as_bytes(), &Limits::default());
        assert_eq!(got, Ok((want, Vec::new())), "{c:?}");
        let want = json!({"a": format!("{c}x")});
        let got = tree(want.to_string().as_bytes(), &Limits::default());
        assert_eq!(got, Ok((want, Vec::new())), "{c:?}");
    }
    for (text, want) in [
        (
            "a: 'ä'\nb: x\u{80}y\n",
            "unexpected character U+0080, which may stand in quotes only at line 2, column 4",
        ),
        (
            "a: |\n  \u{7f}\n",
            "unexpected character U+007F, which may stand in quotes only at line 2, column 3",
        ),
        (
            "\u{9f}: 1\n",
            "unexpected character U+009F, which may stand in quotes only at line 1, column 1",
        ),
        ("a: 'x\u{1}'\n", " at line 1, column 6"),
        ("a: \"\u{0}\"\n", ""),
    ] {
        let got = tree(text.as_bytes(), &Limits::default()).expect_err(text);
        assert!(
            got.starts_with("not valid YAML: ") && got.ends_with(want),
            "{text:?}: {got}"
        );
    }
}

/// Tags are for those who ask for the value.
#[test]
fn what_nobody_reads_is_not_resolved() {
    const ODD: &str = "{a: !!timestamp 2020-01-01, b: !!int abc, c: !!seq {a: 1}, d: !!map [1], e: !!float x, f: !!bool 7, g: !!null x, \
        h: !!binary =, i: !Ref x, j: !!set {x, y}, k: ! 12, l: !!str 12, m: !!python/none , n: !!float 1.10, o: !!int '0x10'}";
    let want = json!({
        "a": "2020-01-01", "b": "abc", "c": {"a": 1}, "d": [1], "e": "x", "f": "7", "g": null, "h": "=", "i": "x",
        "j": {"x": null, "y": null}, "k": "12", "l": "12", "m": null, "n": 1.1, "o": 16,
    });
    let got = tree(format!("--- {ODD}").as_bytes(), &Limits::default());
    assert_eq!(got, Ok((want, Vec::new())));
    let places = [
        format!("components: {{schemas: {{A: {{example: {ODD}}}}}, examples: {ODD}}}\n{PATHS}"),
        format!("x-any: {ODD}\n{PATHS}"),
        format!("paths:\n  /pets:\n    post:\n      requestBody: {ODD}\n      responses: {{200: {ODD}}}\n"),
        format!("x: &odd {ODD}\ndefinitions: [*odd, *odd]\n{PATHS}"),
    ];
    for place in places {
        let definition = openapi(&format!("servers: [{{url: 'http://b1'}}]\n{place}"));
        assert_eq!(warnings(alone(&definition)), Vec::<String>::new(), "{place}");
    }
    let reading = pets(
        &format!("  additionalProperties: {ODD}\n{ENDPOINT}"),
        &openapi(PATHS),
    );
    assert_eq!(warnings(reading), Vec::<String>::new());
}

#[test]
fn aliases_and_merges() {
    let cases = [
        ("a: &a {b: &b [1, *c]}\n", Err("unknown anchor")),
        (
            "a: &a [1, *a]\n",
            Err("an alias stands within what it names at line 1, column 11"),
        ),
        ("a: &a {<<: *a}\n", Err("an alias stands within what it names")),
        (
            "a: {<<: 1}\n",
            Err("<< must be followed by an object, or a list of them"),
        ),
        (
            "a: {<<: [[]]}\n",
            Err("<< must be followed by an object, or a list of them"),
        ),
        ("? [a]\n: 1\n", Err("a key must be text at line 1, column 3")),
        ("a: &a [1]\n? *a\n: 1\n", Err("a key must be text")),
        ("a: 1\n---\n", Err("the file has more than one document")),
        ("a: &a k\n*a : 1\n", Ok(json!({"a": "k", "k": 1}))),
        (
            "a: &a {b: &b [1], c: *b}\nd: [*a, *b]\n",
            Ok(json!({"a": {"b": [1], "c": [1]}, "d": [{"b": [1], "c": [1]}, [1]]})),
        ),
        ("a: &x 1\nb: &x 2\nc: *x\n", Ok(json!({"a": 1, "b": 2, "c": 2}))),
        ("a: {<<: , b: 1}\n", Ok(json!({"a": {"b": 1}}))),
        ("a: {'<<': 1}\n", Ok(json!({"a": {"<<": 1}}))),
        (
            "a: {<<: {b: 1}, <<: {b: 2, c: 3}}\n",
            Ok(json!({"a": {"b": 1, "c": 3}})),
        ),
        (
            "a: &a {b: 1}\nc: &c {<<: *a, d: 2}\ne: {<<: *c}\n",
            Ok(json!({"a": {"b": 1}, "c": {"d": 2, "b": 1}, "e": {"d": 2, "b": 1}})),
        ),
        ("", Ok(json!(null))),
        ("# nothing\n", Ok(json!(null))),
    ];
    for (text, want) in cases {
        let got = tree(text.as_bytes(), &Limits::default());
        match want {
            Ok(want) => assert_eq!(got, Ok((want, Vec::new())), "{text}"),
            Err(want) => {
                let got = got.expect_err(text);
                assert!(
                    got.starts_with("not valid YAML: ") && got.contains(want),
                    "{text}: {got}"
                );
            }
        }
    }
}

proptest::proptest! {
    /// The tokens are those that the reader of JSON sees.
    #[test]
    fn json_says_what_its_reader_says(value in json_value(), pretty: bool) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let got = tree(format!("{{\"a\": {}}}", text.unwrap()).as_bytes(), &Limits::default());
        proptest::prop_assert_eq!(got, Ok((json!({"a": value}), Vec::new())));
    }
}

fn json_value() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| json!(number)),
        "[\\[\\]{},:\"\\\\ a\n\u{7f}ä]{0,6}".prop_map(|text| json!(text)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| json!(items)),
            prop::collection::btree_map("[\"\\\\a,:}]{0,3}", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

#[test]
fn expansion_is_bounded() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let parent = level - 1;
        let row = vec![format!("*a{parent}"); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{row}]\n"));
    }
    let copies = format!(
        "t: &t \"{}\"\nl: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*t"; 90].join(", ")
    );
    // Left out or not, it is passed by.
    let dropped = format!(
        "paths:\n  x: &t {{summary: \"\\n{}\"}}\n{}",
        "x".repeat(1 << 20),
        (0..90).map(|i| format!("  {i}: *t\n")).collect::<String>()
    );
    let small = Limits {
        nodes: 50,
        ..Limits::default()
    };
    let cases = [
        ("billion laughs", laughs.into_bytes(), Limits::default()),
        ("long text, many aliases", copies.into_bytes(), Limits::default()),
        (
            "long text, many aliases, left out",
            dropped.into_bytes(),
            Limits::default(),
        ),
        (
            "too many values in JSON",
            b"{\"a\": [1,2,3,4,5,6,7,8,9,10]}".to_vec(),
            Limits {
                nodes: 8,
                ..Limits::default()
            },
        ),
        ("too many values in YAML", b"- 1\n".repeat(100), small),
    ];
    for (name, text, limits) in cases {
        for keep in [Keep::All, Keep::Definition] {
            let mut findings = Findings::default();
            assert_eq!(parse("f", &text, keep, &limits, &mut findings), None, "{name}");
            let got = lines(&findings.into_sorted());
            assert!(got[0].starts_with("error: f: not valid "), "{name}: {got:?}");
        }
    }
}

/// Anchors in anchors: what 400 bytes stand for is never built.
#[test]
fn nested_aliases_are_counted_before_they_are_built() {
    let mut text = "x: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ["b", "c", "d", "e", "f", "g", "h", "i"]
        .iter()
        .zip("abcdefgh".chars())
    {
        let ten = vec![format!("*{before}"); 10].join(", ");
        text.push_str(&format!("{name}: &{name} [{ten}]\n"));
    }
    assert!(text.len() < 700, "{}", text.len());
    let error = tree(text.as_bytes(), &Limits::default()).unwrap_err();
    assert!(
        error.contains("the file has too many values or aliases at line"),
        "{error}"
    );
}

/// Generators and people share responses by one anchor.
#[test]
fn an_anchor_may_serve_many() {
    let paths: String = (0..500)
        .map(|i| format!("  /{i}: {{get: {{responses: *all}}}}\n"))
        .collect();
    let text = openapi(&format!(
        "x-all: &all {{200: {{description: ok}}}}\npaths:\n{paths}"
    ));
    assert_eq!(accepted(alone(&text)).resources.len(), 500);
}

/// Small objects weigh more in memory than the file has bytes.
#[test]
fn objects_count_by_their_weight() {
    let limits = Limits {
        nodes: 100,
        ..Limits::default()
    };
    for (item, most) in [("1", 92), ("{}", 92), ("{\"a\": 1}", 11)] {
        for (before, after) in [("{\"x\": ", "}"), ("x: ", "\n")] {
            let fits = |count| {
                let list = vec![item; count].join(", ");
                tree(format!("{before}[{list}]{after}").as_bytes(), &limits).is_ok()
            };
            assert!(fits(most) && !fits(most + 1), "{before}{item}");
        }
    }
}

#[test]
fn repeated_keys_are_named() {
    let want = (
        json!({"a": [{"b/c": 2}], "d": 4}),
        vec![
            "warning: f#/a/0/b~1c: key is given more than once; the last one counts".to_owned(),
            "warning: f#/d: key is given more than once; the last one counts".to_owned(),
        ],
    );
    for text in [
        "{\"a\": [{\"b/c\": 1, \"b/c\": 2}], \"d\": 3, \"d\": 4}",
        "a:\n  - b/c: 1\n    b/c: 2\nd: 3\nd: 4\n",
    ] {
        assert_eq!(
            tree(text.as_bytes(), &Limits::default()),
            Ok(want.clone()),
            "{text}"
        );
    }
}

/// What is told of a file in which keys are repeated, without the name of the file.
fn repeated(text: &str) -> Vec<String> {
    let mut findings = Findings::default();
    parse("f", text.as_bytes(), Keep::All, &Limits::default(), &mut findings);
    let found = findings.into_sorted().into_iter();
    found
        .map(|finding| {
            let refused = finding.severity == Severity::Refusal;
            assert_ne!(finding.is_error(), finding.severity == Severity::Warning);
            format!(
                "{} {}",
                if refused { "refused" } else { "warned" },
                finding.pointer
            )
        })
        .collect()
}

#[test]
fn repeated_keys_that_decide_who_may_call() {
    let cases = [
        (
            "open path wins",
            "paths: {/a: {get: {security: [{o: [admin]}]}}, /a: {get: {x-wso2-disable-security: true}}}",
            "refused /paths/~1a",
        ),
        (
            "open path loses",
            "paths: {/a: {get: {x-auth-type: None}}, /a: {get: {}}}",
            "refused /paths/~1a",
        ),
        (
            "same security",
            "paths: {/a: {get: {security: [{o: [admin]}], x: 1}}, /a: {get: {security: [{o: [admin]}], x: 2}}}",
            "warned /paths/~1a",
        ),
        (
            "other operations",
            "paths: {/a: {get: {}, put: {}}, /a: {get: {}}}",
            "warned /paths/~1a",
        ),
        (
            "method",
            "paths: {/a: {get: {security: []}, get: {}}}",
            "refused /paths/~1a/get",
        ),
        (
            "security of an operation",
            "paths: {/a: {get: {security: [{o: [a]}], security: [{o: []}]}}}",
            "refused /paths/~1a/get/security",
        ),
        (
            "scheme in a requirement",
            "security: [{o: [a], o: []}]",
            "refused /security/0/o",
        ),
        (
            "the same requirement",
            "security: [{o: [a], o: [a]}]",
            "warned /security/0/o",
        ),
        (
            "all paths",
            "paths: {/a: {get: {security: []}}}\npaths: {/b: {}}",
            "refused /paths",
        ),
        (
            "scheme",
            "components: {securitySchemes: {o: {type: oauth2}, o: {type: apiKey}}}",
            "refused /components/securitySchemes/o",
        ),
        (
            "path that refers",
            "paths: {/a: {$ref: '#/x'}, /a: {$ref: '#/y'}}",
            "refused /paths/~1a",
        ),
        (
            "response that refers",
            "paths: {/a: {get: {responses: {200: {$ref: '#/x'}, 200: {$ref: '#/y'}}}}}",
            "warned /paths/~1a/get/responses/200",
        ),
        (
            "channel called as something harmless",
            "channels: {responses: {publish: {x-scopes: [a]}}, responses: {publish: {}}}",
            "refused /channels/responses",
        ),
        (
            "api.yaml",
            "data: {SecurityScheme: [oauth2], SecurityScheme: [api_key]}",
            "refused /data/SecurityScheme",
        ),
        (
            "operations of api.yaml",
            "data: {operations: [{target: /a, authType: None}], operations: [{target: /a}, {target: /b}]}",
            "refused /data/operations",
        ),
        (
            "client certificates",
            "data: [{alias: a, certificate: a.crt}]\ndata: [{alias: a, certificate: b.crt}]",
            "refused /data",
        ),
        (
            "version",
            "data: {version: 1, version: 2}",
            "warned /data/version",
        ),
    ];
    for (name, text, want) in cases {
        assert_eq!(repeated(text), [want], "{name}");
    }
}

/// What isn't listed may decide anything.
#[test]
fn more_repeated_keys_than_are_listed() {
    let text = |count: usize, other: usize| -> String {
        let harmless: String = (0..count)
            .map(|index| format!("k{index}: 1\nk{index}: 1\n"))
            .collect();
        let differing = (0..other).map(|index| format!("o{index}: 1\no{index}: 2\n"));
        harmless + &differing.collect::<String>()
    };
    for (count, other, refused) in [(100, 0, 0), (2_000, 0, 0), (99, 1, 0), (100, 1, 1), (0, 2_000, 1)] {
        let told = repeated(&text(count, other));
        let (listed, rest) = told.split_at(refused);
        assert!(listed.iter().all(|told| told == "refused "), "{listed:?}");
        assert_eq!(rest.len(), (count + other).min(100), "{count} {other}");
        assert!(rest.iter().all(|told| told.starts_with("warned /")), "{rest:?}");
    }
}

/// What isn't kept may be as deep as it likes in JSON, and takes no stack.
#[test]
fn deep_schemas_do_no_harm() {
    let deep = format!("{}1{}", "{\"a\":[".repeat(200_000), "]}".repeat(200_000));
    let text = format!(
        "{{\"openapi\": \"3.1.0\", \"paths\": {{\"/a\": {{\"get\": {{\"requestBody\": {deep}}}}}}}, \"components\": {{\"schemas\": {deep}}}}}"
    );
    assert_eq!(accepted(alone(&text)).resources.len(), 1);
}

#[test]
fn ten_megabytes_are_read() {
    let mut text = String::from(
        "{\"openapi\": \"3.0.0\", \"info\": {\"title\": \"Big\", \"version\": \"1\"}, \"components\": {\"schemas\": {",
    );
    for index in 0..40_000 {
        let schema = format!(
            "\"S{index}\": {{\"type\": \"object\", \"properties\": {{\"next\": {{\"$ref\": \"#/components/schemas/S{index}\"}}, \"name\": {{\"type\": \"string\", \"description\": \"{}\"}}}}}},",
            "words ".repeat(24)
        );
        text.push_str(&schema);
    }
    text.push_str("\"End\": {}}}, \"paths\": {");
    for index in 0..5_000 {
        text.push_str(&format!("\"/things/{index}/{{id}}\": {{\"get\": {{\"responses\": {{\"200\": {{\"description\": \"ok\"}}}}}}}},"));
    }
    text.push_str("\"/end\": {\"get\": {}}}}");
    assert!(text.len() > 10_000_000, "{}", text.len());
    assert_eq!(accepted(alone(&text)).resources.len(), 5_001);
}
