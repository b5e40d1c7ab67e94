//! However a path is spelled, it gets the operation that a server behind the gateway takes it for, or none.
//!
//! The servers: one decodes the whole path; one cuts path parameters off what is decoded; one cuts them off, decodes what is
//! left, and then merges slashes and resolves dots. Each takes the first template that fits, and knows templates by their
//! plain text.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use regex::Regex;
use trireme_routing::snapshot::*;
use trireme_routing::{Ambiguity, RouteTable, Target, normal_path};

/// The expression of a template, as the adapter makes it of the texts between its parameters.
fn pattern(template: &str, text: impl Fn(&str) -> String) -> String {
    let (start, end) = match template.strip_suffix("/*") {
        Some(start) => (start, "(/.*)*"),
        None => (template, "[/]{0,1}"),
    };
    let mut pattern = String::from("^");
    for part in start.split_inclusive(['{', '}']) {
        match part.strip_suffix('}') {
            Some(_) => pattern.push_str("([^/]+)"),
            None => pattern.push_str(&regex::escape(&text(part.trim_end_matches('{')))),
        }
    }
    pattern + end
}

fn table(templates: &[&str]) -> RouteTable {
    let routes = templates.iter().map(|template| {
        let path = PathMatch::Regex(pattern(template, |text| normal_path(text).into_owned()));
        let action = Action::Direct {
            status: 200,
            body: String::new(),
        };
        let mut route = Route {
            name: "/".to_owned(),
            ..Route::new(path, action)
        };
        route.filters.check = Check::Required {
            context: BTreeMap::from([("path".to_owned(), (*template).to_owned())]),
            with_body: false,
        };
        route
    });
    let fragment = Fragment {
        name: "h/1".to_owned(),
        position: Position::Front,
        revision: Revision::default(),
        virtual_hosts: vec![VirtualHost {
            name: "h".to_owned(),
            routes: routes.collect(),
        }],
    };
    let update = RouteTable::new().update(vec![fragment], &[]);
    assert_eq!(update.rejected, [], "{templates:?}");
    update.table
}

/// What the gateway does with a path, the templates by number.
#[derive(Debug, Clone, Copy)]
struct Answer {
    found: Option<usize>,
    refused: Option<Ambiguity>,
}

fn ours(table: &RouteTable, target: &Target<'_>) -> Answer {
    let matched = table.find("h", &target.path, "GET", |_| None);
    let admitted = matched
        .as_ref()
        .map(|matched| table.admit(matched, target, "GET", |_| None));
    Answer {
        found: matched.map(|matched| matched.place().1.try_into().expect("small")),
        refused: admitted.and_then(Result::err),
    }
}

fn decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| byte == b'%');
        let digits = escape.map(|digits| std::str::from_utf8(digits).expect("ASCII"));
        bytes.push(digits.map_or(byte, |digits| u8::from_str_radix(digits, 16).expect("digits")));
        rest = &after[digits.map_or(0, str::len)..];
    }
    String::from_utf8(bytes).expect("text")
}

fn cut(path: &str) -> String {
    let mut parameter = false;
    let kept = path.chars().filter(|text| {
        parameter = *text != '/' && (parameter || *text == ';');
        !parameter
    });
    kept.collect()
}

fn tidy(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let end = if path.ends_with('/') && !names.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", names.join("/"))
}

/// The servers' templates, and which of them fit what was looked at so far.
struct Servers {
    templates: Vec<Regex>,
    known: HashMap<String, Rc<[bool]>>,
}

impl Servers {
    fn new(templates: &[&str]) -> Self {
        let whole = |template: &&str| format!("(?s){}$", pattern(template, str::to_owned));
        Self {
            templates: templates
                .iter()
                .map(|template| Regex::new(&whole(template)).expect("compiles"))
                .collect(),
            known: HashMap::new(),
        }
    }

    /// What fits `path`, for each server.
    fn fitting(&mut self, path: &str) -> [Rc<[bool]>; 3] {
        [decode(path), cut(&decode(path)), tidy(&decode(&cut(path)))].map(|reading| {
            let Self { templates, known } = self;
            let fits = known.entry(reading).or_insert_with_key(|reading| {
                templates
                    .iter()
                    .map(|template| template.is_match(reading))
                    .collect()
            });
            Rc::clone(fits)
        })
    }
}

#[derive(Debug, Default)]
struct Counts {
    served: usize,
    refused: usize,
    not_found: usize,
}

impl Counts {
    /// Compares an answer with the templates that the servers take.
    fn compare(&mut self, answer: Answer, servers: [Option<usize>; 3], told: impl Fn() -> String) {
        use Ambiguity::{EncodedDelimiter, PathParameter};
        let Answer { found, refused } = answer;
        let other = servers.iter().any(|taken| taken.is_some() && *taken != found);
        match (found, refused) {
            (Some(_), None) => {
                assert!(!other && servers[0] == found, "{answer:?} {servers:?} {}", told());
                self.served += 1;
            }
            (Some(_), Some(reason)) => {
                let needed = other || !matches!(reason, EncodedDelimiter | PathParameter);
                assert!(needed, "{answer:?} {servers:?} {}", told());
                self.refused += 1;
            }
            (None, _) => self.not_found += 1,
        }
    }
}

/// Whether a server reads the path in its one way only.
fn is_simple(path: &str) -> bool {
    let escapes = path.to_ascii_uppercase();
    !path.contains(';')
        && ![
            "%21", "%24", "%26", "%27", "%28", "%29", "%2A", "%2B", "%2C", "%3B", "%3D", "%2F",
        ]
        .iter()
        .any(|escape| escapes.contains(escape))
}

/// As it is, and escaped in either case.
fn spellings(text: char) -> Vec<String> {
    let mut buffer = [0; 4];
    let bytes = text.encode_utf8(&mut buffer).as_bytes();
    let upper: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let lower: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    let raw = (text.is_ascii_graphic() && text != '%').then(|| text.to_string());
    let mut all = Vec::from_iter(raw);
    all.extend((lower != upper).then_some(lower));
    all.push(upper);
    all
}

/// All paths of up to that many pieces.
fn paths(pieces: &[String], length: usize) -> Vec<String> {
    let mut all = vec!["/".to_owned()];
    let mut from = 0;
    for _ in 0..length {
        let until = all.len();
        for at in from..until {
            all.extend(
                pieces
                    .iter()
                    .map(|piece| format!("{}{piece}", all[at]))
                    .collect::<Vec<_>>(),
            );
        }
        from = until;
    }
    all
}

#[test]
fn every_spelling_of_short_paths() {
    const TEMPLATES: [&str; 12] = [
        "/*", "/{x}", "/a", "/a{y}", "/a,b", "/a,{y}", "/a;b", "/a:", "/{x}/b", "/a/b", "/a|", "/a/*",
    ];
    let tables: Vec<(usize, usize, RouteTable)> = (0..TEMPLATES.len())
        .flat_map(|first| (0..TEMPLATES.len()).map(move |second| (first, second)))
        .filter(|(first, second)| first != second)
        .map(|(first, second)| (first, second, table(&[TEMPLATES[first], TEMPLATES[second]])))
        .collect();
    let mut servers = Servers::new(&TEMPLATES);
    let all: Vec<String> = "/abmZ7-._~:@!$&'()*+,;=|\"[ é"
        .chars()
        .flat_map(spellings)
        .collect();
    let mut few: Vec<String> = "/ab,;:.|".chars().flat_map(spellings).collect();
    few.extend([";v=1", "%3Bv=1", "%3bv%3D1"].map(str::to_owned));
    let paths = [paths(&all, 2), paths(&few, 3)].concat();
    let mut counts = Counts::default();
    for path in &paths {
        let target = Target::parse(path, "h").expect("no refusal");
        let (fitting, simple) = (servers.fitting(path), is_simple(path));
        for (first, second, table) in &tables {
            let taken = fitting
                .each_ref()
                .map(|fits| match (fits[*first], fits[*second]) {
                    (true, _) => Some(0),
                    (false, true) => Some(1),
                    (false, false) => None,
                });
            let answer = ours(table, &target);
            let told = || format!("{path} of {} {}", TEMPLATES[*first], TEMPLATES[*second]);
            assert!(
                !simple || answer.found == taken[0],
                "{answer:?} {taken:?} {}",
                told()
            );
            counts.compare(answer, taken, told);
        }
    }
    println!(
        "{} spellings of paths, {} tables: {counts:?}",
        paths.len(),
        tables.len()
    );
}

/// Numbers that are as good as random, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below")
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    fn text(&mut self) -> String {
        const ALPHABET: &[char] = &[
            'a', 'm', 'Z', '7', '-', '.', '_', '~', ':', '@', '!', '$', '&', '\'', '(', ')', '*', '+', ',',
            ';', '=', '|', '"', '^', '[', ' ', 'é',
        ];
        (0..=self.below(2))
            .map(|_| ALPHABET[self.below(ALPHABET.len())])
            .collect()
    }

    fn template(&mut self) -> String {
        let mut template = String::new();
        for _ in 0..=self.below(2) {
            let (before, after) = (self.text(), self.text());
            template += &match self.below(6) {
                0 | 1 => format!("/{before}"),
                2 | 3 => "/{x}".to_owned(),
                4 => format!("/{before}{{x}}"),
                _ => format!("/{before}{{x}}{after}"),
            };
        }
        if self.one_in(4) {
            template += "/*";
        }
        template
    }

    /// A path that fits a template more or less, as plain text.
    fn fill(&mut self, template: &str) -> String {
        let mut path = match template.strip_suffix("/*") {
            Some(start) => format!("{start}{}", ["", "/w/a"][self.below(2)]),
            None => template.to_owned(),
        };
        while let Some((start, end)) = path.split_once("{x}") {
            path = format!("{start}{}{end}", self.text());
        }
        if self.one_in(4) {
            path = path.replacen('/', "/p/", self.below(2));
        }
        if path.is_empty() || self.one_in(4) {
            path + "/"
        } else {
            path
        }
    }

    /// The path in some spelling, with path parameters here and there.
    fn spell(&mut self, path: &str) -> String {
        let mut spelled = String::new();
        for text in path.chars() {
            if text == '/' && !spelled.is_empty() && self.one_in(6) {
                spelled += [";v=1", "%3Bv=1", "%3bv%3D1", ";a,b;c"][self.below(4)];
            }
            let all = spellings(text);
            let at = if text == '/' || self.one_in(2) {
                0
            } else {
                self.below(all.len())
            };
            spelled += &all[at];
        }
        spelled
    }
}

#[test]
fn random_spellings_of_longer_paths() {
    let seed = RandomState::new().hash_one("spellings");
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let (mut counts, mut paths) = (Counts::default(), 0);
    for _ in 0..3000 {
        let mut templates = [random.template(), random.template()];
        // Templates that are near to each other tell more.
        if random.one_in(2) {
            templates[1] = random.fill(&templates[0]);
        }
        let templates = templates.each_ref().map(String::as_str);
        let templates = if random.one_in(2) {
            templates
        } else {
            [templates[1], templates[0]]
        };
        let table = table(&templates);
        let mut servers = Servers::new(&templates);
        for _ in 0..40 {
            let plain = random.fill(templates[paths % 2]);
            let path = random.spell(&plain);
            paths += 1;
            let target = Target::parse(&path, "h").expect("no refusal");
            let taken = servers
                .fitting(&path)
                .map(|fits| fits.iter().position(|fits| *fits));
            let answer = ours(&table, &target);
            let told = || format!("{path} of {templates:?}, seed {seed:#x}");
            assert!(
                !is_simple(&path) || answer.found == taken[0],
                "{answer:?} {taken:?} {}",
                told()
            );
            counts.compare(answer, taken, told);
        }
    }
    println!("{paths} paths: {counts:?}");
}
