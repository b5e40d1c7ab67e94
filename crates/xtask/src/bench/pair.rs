//! Two builds side by side: both gateways are up at once, each on its own data folder, and take the load in turn.
//!
//! ```text
//!       ┌─▶ router (old) ─┐
//! wrk ──┤                 ├──▶ nginx
//!       └─▶ router (new) ─┘
//! ```
//!
//! What the machine does meanwhile hits both alike, as the order changes with every round: the ratios of the rounds tell
//! more than the figures. With one program as both, while the machine compiled something else, single rounds were off by
//! up to 30 %, medians of eight rounds by 2 %. For less there is `count/`.

use std::path::Path;

use anyhow::Context as _;

use super::gateway::Gateway;
use super::load::{self, CONNECTIONS, Sample, Target};
use super::options::Options;
use super::spread::Spread;

/// A measure: its name, how it is taken from a sample, and the digits that it is printed with.
type Measure = (&'static str, fn(&Sample) -> f64, usize);

const MEASURES: [Measure; 5] = [
    ("router µs", |sample| sample.proxy, 1),
    ("enforcer µs", |sample| sample.enforcer, 1),
    ("both µs", Sample::sum, 1),
    ("requests/s", |sample| sample.rate, 0),
    ("p99 ms", |sample| sample.p99_ms, 2),
];

pub(super) fn run(options: &Options, old: &Path, new: &Path, scratch: &Path) -> anyhow::Result<()> {
    let (_nginx, definition) = load::upstream(scratch)?;
    let definitions = [definition];
    let start = |program: &Path, name: &str| {
        let data = scratch.join(name);
        std::fs::create_dir_all(&data)?;
        Gateway::start(program, &data, &definitions)
    };
    let gateways = [start(old, "old")?, start(new, "new")?];
    let [old, new] = gateways.each_ref().map(|gateway| Target {
        url: &gateway.url,
        token: &gateway.token,
        proxy: gateway.router,
        enforcer: gateway.enforcer,
    });
    old.probe("old")?;
    new.probe("new")?;

    let mut rounds = Vec::new();
    println!(
        "CPU per request in µs, {CONNECTIONS} connections, {} s each",
        options.seconds
    );
    for round in 1..=options.rounds {
        let (of_old, of_new);
        if round % 2 == 1 {
            of_old = old.sample(options.seconds)?;
            of_new = new.sample(options.seconds)?;
        } else {
            of_new = new.sample(options.seconds)?;
            of_old = old.sample(options.seconds)?;
        }
        of_old.print(round, "old");
        of_new.print(round, "new");
        println!("round {round}  new/old {:.3}", of_new.sum() / of_old.sum());
        rounds.push((of_old, of_new));
    }

    println!("median (least–greatest) of {} rounds", rounds.len());
    for (name, take, digits) in MEASURES {
        let spread = |value: fn((f64, f64)) -> f64| {
            let pairs = rounds.iter().map(|(old, new)| (take(old), take(new)));
            Spread::of(pairs.map(value)).context("no round")
        };
        let old = format!("{:.digits$}", spread(|(old, _)| old)?);
        let new = format!("{:.digits$}", spread(|(_, new)| new)?);
        let ratio = spread(|(old, new)| new / old)?;
        println!("{name:<12} old {old:<24} new {new:<24} new/old {ratio:.3}");
    }
    Ok(())
}
