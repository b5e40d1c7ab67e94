//! What the gateway serves and asks for, held against a second reading of the same definitions: 352 real ones and 2,000 made ones.
//!
//! `meant.rs` lists the disagreements that are known. A made definition is told by its number, which makes it again.

mod compare;
mod corpus;
mod generate;
mod meant;
mod served;

use std::collections::BTreeMap;

use compare::{Difference, What};
use meant::List;
use served::Served;

/// How many definitions are made.
const MADE: u64 = 2_000;
/// Most that is shown of one kind of difference.
const SHOWN: usize = 10;

/// What was compared.
struct Comparison {
    list: List,
    definitions: usize,
    operations: usize,
    refused: usize,
    /// Differences that are not in the list, by kind.
    wrong: BTreeMap<&'static str, Vec<String>>,
}

#[test]
fn both_readings_agree() {
    let mut comparison = Comparison {
        list: List::new(),
        definitions: 0,
        operations: 0,
        refused: 0,
        wrong: BTreeMap::new(),
    };
    for number in 0..MADE {
        let (name, content) = generate::definition(number);
        comparison.add(&name, &content);
    }
    let real = corpus::documents();
    for (name, content) in real.iter().flatten() {
        comparison.add(name, content);
    }
    if let Some(real) = &real {
        assert_eq!(real.len(), corpus::DOCUMENTS);
    }
    let Comparison {
        list,
        definitions,
        operations,
        refused,
        wrong,
    } = comparison;
    eprintln!(
        "made: numbers 0 to {}, real: {}",
        MADE - 1,
        real.as_ref().map_or(0, Vec::len)
    );
    eprintln!(
        "{definitions} definitions, {refused} of them refused, {operations} operations; known differences:\n{list}"
    );
    let told = wrong.iter().map(|(kind, all)| {
        let shown: String = all.iter().take(SHOWN).map(|line| format!("\n  {line}")).collect();
        format!("\n{kind}, {} in all:{shown}", all.len())
    });
    assert!(
        wrong.is_empty(),
        "differences that are not in the list:{}",
        told.collect::<String>()
    );
    let unused = list.unused(real.is_some());
    assert!(unused.is_empty(), "nothing differs so any more: {unused:?}");
}

impl Comparison {
    /// Compares one definition, and what is said of it on both ways.
    fn add(&mut self, name: &str, content: &[u8]) {
        let definition = trireme_reader::read(content).unwrap_or_else(|fault| panic!("{name}: {fault:?}"));
        let validated = served::validated(name, content);
        let deployed = served::deployed(name, content);
        self.definitions += 1;
        self.operations += definition.operations.len();
        self.refused += usize::from(validated.is_err());
        let said = |result: &Result<Served, Vec<String>>| match result {
            Ok(served) => (true, served.warnings().to_vec()),
            Err(errors) => (false, errors.clone()),
        };
        let (one, other) = (said(&validated), said(&deployed));
        if one != other {
            let what = What::Ways(format!("{one:?} and {other:?}"));
            self.look(
                name,
                "both",
                &Difference {
                    what,
                    definition: &definition,
                    operation: None,
                    told: &[],
                },
            );
        }
        let told = validated.as_ref().map_or(&[][..], Served::warnings);
        for (way, served) in [("validate", &validated), ("deploy", &deployed)] {
            for difference in compare::differences(&definition, served, told) {
                self.look(name, way, &difference);
            }
        }
    }

    /// Looks for a difference in the list.
    fn look(&mut self, name: &str, way: &str, difference: &Difference<'_>) {
        if !self.list.has(difference) {
            self.wrong
                .entry(difference.what.kind())
                .or_default()
                .push(line(name, way, difference));
        }
    }
}

/// A difference in words.
fn line(name: &str, way: &str, difference: &Difference<'_>) -> String {
    let Difference {
        what,
        definition,
        operation,
        told,
    } = difference;
    let about = operation.map(|one| {
        format!(
            "{} {} ({:?} {:?})",
            one.method, one.path, one.source.level, one.source.servers
        )
    });
    format!(
        "{name} ({:?}, {way}) {}: {what}, told {told:?}",
        definition.version,
        about.unwrap_or_default()
    )
}
