use super::*;

fn sorted(paths: &[&'static str]) -> Vec<&'static str> {
    let mut paths = paths.to_vec();
    paths.sort_by(|left, right| compare(left, right));
    paths
}

#[test]
fn documented_order() {
    let want = [
        "/pet/index.html",
        "/pet/pet.{a}",
        "/pet/{id}.com",
        "/pet/{p}.{a}",
        "/pet",
        "/pet/{id}",
        "/pet/{id}/price",
        "/pet/{id}/{price}",
        "/pet/*",
    ];
    let mut shuffled = want;
    shuffled.reverse();
    assert_eq!(sorted(&shuffled), want);
}

#[test]
fn the_more_specific_first() {
    let cases: [(&str, &[&str]); 15] = [
        ("longer wildcard first", &["/a/b/*", "/a/*", "/*"]),
        ("literal before variable", &["/a/mine", "/a/{id}", "/{a}/mine"]),
        (
            "plain text where nothing else decides",
            &["/aaa/{x}", "/b/{x}", "/c/{x}"],
        ),
        ("wildcards with equal prefix", &["/a/{b}/c/*", "/a/{b}/*", "/a/*"]),
        (
            "dot in the name of a parameter",
            &["/v1/settings", "/v1/{user.id}"],
        ),
        (
            "text after a parameter",
            &["/v1/keys/{id}:export", "/v1/keys/{id}"],
        ),
        ("literal above the brace", &["/|admin", "/~admin", "/{id}"]),
        ("more text", &["/{x}.tar.gz", "/{x}.gz", "/a{x}"]),
        ("more parameters", &["/{x}-{y}", "/{x}-", "/{x}{y}", "/{x}"]),
        (
            "text before, then after",
            &["/ab{x}{y}", "/a{x}{y}b", "/a{x}b{y}", "/{x}{y}ab"],
        ),
        (
            "names of parameters don't matter",
            &["/{a}/b", "/{b}/a", "/{b}/{a}", "/{c}/*"],
        ),
        ("escapes", &["/gr%C3%B6%C3%9Fe", "/größe", "/{x}"]),
        ("query and slash at the end", &["/a", "/a/", "/a?x={y}", "/{a}"]),
        (
            "a path and what is below it",
            &["/a/b", "/a/b{c}", "/a", "/a/{b}", "/a/{b}/c", "/a/*"],
        ),
        ("a * elsewhere is literal", &["/*/b", "/a*", "/{x}", "/*"]),
    ];
    for (name, want) in cases {
        let mut shuffled = want.to_vec();
        shuffled.reverse();
        assert_eq!(sorted(&shuffled), want, "{name}");
        shuffled.sort_by_cached_key(|path| key(path));
        assert_eq!(shuffled, want, "{name}, by key");
    }
}

/// A part of a segment as the model knows it.
#[derive(Debug, Clone, Copy)]
enum Part {
    Text(&'static str),
    Some,
}

use Part::{Some as Any, Text};

/// Segments as written, and what requests they match.
const SEGMENTS: &[(&str, &[Part])] = &[
    ("a", &[Text("a")]),
    ("a.b", &[Text("a.b")]),
    ("~a", &[Text("~a")]),
    ("settings", &[Text("settings")]),
    ("a*", &[Text("a*")]),
    ("*", &[Text("*")]),
    ("%61%7ea", &[Text("a~a")]),
    ("ü a", &[Text("%C3%BC%20a")]),
    ("{x}", &[Any]),
    ("{x.y}", &[Any]),
    ("{x}.a", &[Any, Text(".a")]),
    ("{x}.b.a", &[Any, Text(".b.a")]),
    ("a.{x}", &[Text("a."), Any]),
    ("a{x}", &[Text("a"), Any]),
    ("{x}a", &[Any, Text("a")]),
    ("{x}:a", &[Any, Text(":a")]),
    ("{x}%3ab", &[Any, Text(":b")]),
    ("{x}-{y}", &[Any, Text("-"), Any]),
    ("{x}{y}", &[Any, Any]),
    ("{x}a{y}", &[Any, Text("a"), Any]),
    ("{x}{y}.a", &[Any, Any, Text(".a")]),
];

/// Those of which three in a row are looked at.
const FEW: &[&str] = &["a", "{x}", "a.{x}", "{x}.a", "{x}{y}", "*"];

/// Texts in the place of a parameter; `z` is in no template.
const VALUES: &[&str] = &["z", "a", ".a"];

struct Model {
    written: String,
    segments: Vec<&'static [Part]>,
    wildcard: bool,
    /// Which requests it matches, a bit for each.
    matches: Vec<u64>,
}

impl Model {
    fn is_concrete(&self) -> bool {
        let mut parts = self.segments.iter().copied().flatten();
        !self.wildcard && parts.all(|part| matches!(part, Text(_)))
    }

    /// spec/adapter.md 5.3, taken literally: `(/.*)*` for a final `/*`, else a slash that may be there or not.
    fn is_match(&self, request: &str) -> bool {
        let mut rest = request;
        for segment in &self.segments {
            let Some(below) = rest.strip_prefix('/') else {
                return false;
            };
            let (step, after) = below.split_at(below.find('/').unwrap_or(below.len()));
            if !is_match(segment, step) {
                return false;
            }
            rest = after;
        }
        rest.is_empty() || rest == "/" || (self.wildcard && rest.starts_with('/'))
    }

    fn meets(&self, other: &Self) -> bool {
        let mut pairs = self.matches.iter().zip(&other.matches);
        pairs.any(|(own, others)| own & others != 0)
    }

    fn contains(&self, other: &Self) -> bool {
        let mut pairs = self.matches.iter().zip(&other.matches);
        pairs.all(|(own, others)| others & !own == 0)
    }
}

/// By trying every end of a parameter.
fn is_match(parts: &[Part], step: &str) -> bool {
    match parts {
        [] => step.is_empty(),
        [Text(text), rest @ ..] => step.strip_prefix(text).is_some_and(|step| is_match(rest, step)),
        [Any, rest @ ..] => {
            (1..=step.len()).any(|end| step.get(end..).is_some_and(|step| is_match(rest, step)))
        }
    }
}

/// All paths of up to `length` of these segments, each without and with a final `/*`.
fn templates(segments: &[(&'static str, &'static [Part])], length: usize) -> Vec<Model> {
    let mut rows = vec![(String::new(), Vec::new())];
    let mut at = 0;
    while let Some((written, parts)) = rows.get(at).cloned() {
        at += 1;
        if parts.len() < length {
            for (name, segment) in segments {
                let longer = parts.iter().copied().chain([*segment]).collect();
                rows.push((format!("{written}/{name}"), longer));
            }
        }
    }
    let model = |written: String, segments: &[&'static [Part]], wildcard| Model {
        written,
        segments: segments.to_vec(),
        wildcard,
        matches: Vec::new(),
    };
    let both = rows.iter().flat_map(|(written, segments)| {
        // Written with `/` at the end, a last `*` is a segment and no wildcard.
        let slash = if written.is_empty() || written.ends_with("/*") {
            "/"
        } else {
            ""
        };
        [
            model(format!("{written}{slash}"), segments, false),
            model(format!("{written}/*"), segments, true),
        ]
    });
    both.collect()
}

/// Requests of up to `length` segments and one more, each without and with a slash at its end: every way to fill the segments
/// with [`VALUES`], and the values themselves.
fn requests(segments: &[(&'static str, &'static [Part])], length: usize) -> Vec<String> {
    let mut steps: Vec<String> = VALUES.iter().map(|value| (*value).to_owned()).collect();
    for (_, parts) in segments {
        let mut filled = vec![String::new()];
        for part in *parts {
            let texts = match part {
                Text(text) => std::slice::from_ref(text),
                Any => VALUES,
            };
            filled = filled
                .iter()
                .flat_map(|before| texts.iter().map(move |text| format!("{before}{text}")))
                .collect();
        }
        steps.extend(filled);
    }
    steps.sort();
    steps.dedup();
    let mut paths = vec![String::new()];
    let mut last = paths.clone();
    for _ in 0..length {
        last = last
            .iter()
            .flat_map(|before| steps.iter().map(move |step| format!("{before}/{step}")))
            .collect();
        paths.extend(last.iter().cloned());
    }
    let below: Vec<String> = last.iter().step_by(7).map(|path| format!("{path}/z")).collect();
    paths.extend(below);
    paths
        .iter()
        .flat_map(|path| [path.clone(), format!("{path}/")])
        .collect()
}

/// Compares all pairs of templates; returns how many there are, how many contain one another, and those in the wrong order.
fn disagreements(segments: &[(&'static str, &'static [Part])], length: usize) -> (usize, usize, Vec<String>) {
    let requests = requests(segments, length);
    let mut models = templates(segments, length);
    for model in &mut models {
        let bit = |(index, request): (usize, &String)| u64::from(model.is_match(request)) << index;
        model.matches = requests
            .chunks(64)
            .map(|chunk| chunk.iter().enumerate().map(bit).sum())
            .collect();
        assert!(model.matches.iter().any(|bits| *bits != 0), "{}", model.written);
    }
    let keys: Vec<_> = models.iter().map(|model| key(&model.written)).collect();
    let (mut pairs, mut nested, mut wrong) = (0, 0, Vec::new());
    for (left, left_key) in models.iter().zip(&keys) {
        for (right, right_key) in models.iter().zip(&keys) {
            if std::ptr::eq(left, right) {
                continue;
            }
            pairs += 1;
            let narrower = right.contains(left) && !left.contains(right);
            let concrete = left.is_concrete() && !right.is_concrete() && right.meets(left);
            if narrower || concrete {
                nested += 1;
                if left_key >= right_key {
                    wrong.push(format!("{} must precede {}", left.written, right.written));
                }
            }
        }
    }
    (pairs, nested, wrong)
}

/// All pairs of templates of a small grammar against a matcher that tries everything: whatever matches a part of what another
/// matches is tried before it.
#[test]
fn nothing_is_hidden_by_what_matches_more() {
    let few: Vec<_> = SEGMENTS
        .iter()
        .copied()
        .filter(|(name, _)| FEW.contains(name))
        .collect();
    assert_eq!(few.len(), FEW.len());
    let (mut pairs, mut nested, mut wrong) = disagreements(SEGMENTS, 2);
    let (more_pairs, more_nested, more_wrong) = disagreements(&few, 3);
    pairs += more_pairs;
    nested += more_nested;
    wrong.extend(more_wrong);
    eprintln!(
        "{pairs} pairs, {nested} of them nested, {} in the wrong order",
        wrong.len()
    );
    assert!(nested > 10_000, "{nested}");
    assert!(
        wrong.is_empty(),
        "{}: {:?}",
        wrong.len(),
        wrong.iter().take(20).collect::<Vec<_>>()
    );
}

/// Sorting gives the same list whatever it starts from.
#[test]
fn the_order_is_total() {
    let models = templates(SEGMENTS, 2);
    let mut paths: Vec<&str> = models.iter().map(|model| model.written.as_str()).collect();
    paths.sort_by_cached_key(|path| key(path));
    for (at, left) in paths.iter().enumerate() {
        for right in paths.get(at + 1..).unwrap_or_default() {
            assert!(
                compare(left, right).is_lt() && compare(right, left).is_gt(),
                "{left} {right}"
            );
        }
    }
}
