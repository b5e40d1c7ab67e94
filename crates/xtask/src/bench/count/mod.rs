//! User-space instructions of router and enforcer for a request, counted by callgrind on a fixed script.
//!
//! ```text
//! script.rs ──▶ router (callgrind) ──▶ script.rs
//!                 └──▶ enforcer (callgrind)          adapter, and the router and enforcer of the same `trireme up`: native
//! ```
//!
//! Counted is every instruction of every thread of the process: the program and its libraries, TLS between router and
//! enforcer included, and what little it does while it waits. Not counted is the kernel, which has a good part of the
//! CPU of a small request, nor how long an instruction takes: cache misses and waits cost nothing here. The code is what
//! runs on the CPU that valgrind pretends to be: AES by its own instructions, AVX2 when the machine has it, no AVX-512.
//!
//! One caller, one connection, one request after the other, so each process wakes up once for every message; under load
//! one waking serves several, and a request costs less. Each process has one worker, so that no idle one looks for work.
//!
//! What varies: what the processes do on their own, some 80,000 instructions a second for the router's timers and 10,000
//! for looks at certificate files, in blocks of less than a second. Medians repeat to 0.4 %, also while the machine is
//! busy otherwise; a single block then is up to 2 % above.

mod callgrind;
mod record;
mod script;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, bail};

use self::callgrind::Counted;
use self::record::{Figures, Record};
use self::script::{Caller, ROWS, Row, Upstream};
use super::gateway::{self, Gateway};
use super::process::{environment, until};
use super::program::{self, Scratch};
use super::spread::Spread;

/// Requests before the first that counts; caches are full and buffers have their size by then.
const WARM_UP: usize = 300;
/// Every row is counted so often, in turn with the others.
const BLOCKS: usize = 5;
/// A figure below is what the process does on its own, not for the request, and is not compared.
const IDLE: u64 = 1_000;
/// A figure above its recorded one by more fails.
const BOUND: f64 = 1.02;
const PROCESSES: [&str; 2] = ["router", "enforcer"];

/// What is counted and compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Count this program instead of building one with the profile dist
    #[arg(long, value_name = "PROGRAM")]
    trireme: Option<PathBuf>,
    /// Compare with this build, counted as well, rather than with the recorded figures
    #[arg(long, value_name = "PROGRAM", conflicts_with = "record")]
    against: Option<PathBuf>,
    /// Requests of each row in a block, 100 at least
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    requests: u32,
    /// Routes of other APIs in the tables, a thousand an API
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=200_000), conflicts_with = "record")]
    routes: u32,
    /// Fail when a figure is above this multiple of what it is compared with [default: 1.02 of the recorded figures,
    /// none between two builds]
    #[arg(long, value_name = "RATIO", conflicts_with = "record")]
    bound: Option<f64>,
    /// Write the figures to crates/xtask/instructions.toml
    #[arg(long)]
    record: bool,
}

/// Instructions per request of both processes, block by block, for each row.
type Blocks = Vec<[Vec<u64>; 2]>;

/// What was counted of one program.
struct Counts {
    blocks: Blocks,
    /// Version of callgrind.
    valgrind: String,
}

pub(super) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let file = root.join("crates/xtask/instructions.toml");
    let recorded = match options.record || options.against.is_some() {
        true => None,
        false => Some(Record::read(&file).context("recorded figures; --record writes them")?),
    };
    let program = program::program(root, options.trireme.as_deref())?;
    let scratch = Scratch::create()?;
    let started = SystemTime::now();
    let counts = Counts::take(&program, options, &scratch.path().join("first"))?;
    counts.print(&program, options.requests);
    let record = Record {
        profile: record::profile(&program),
        valgrind: counts.valgrind.clone(),
        date: record::today()?,
        rows: counts.figures()?,
    };
    let outcome = if let Some(other) = &options.against {
        let counts = Counts::take(other, options, &scratch.path().join("second"))?;
        counts.print(other, options.requests);
        compare(&record.rows, &counts.figures()?, options.bound)
    } else if let Some(recorded) = recorded {
        recorded.explain(&record);
        compare(&recorded.rows, &record.rows, options.bound.or(Some(BOUND)))
    } else {
        record.write(&file)
    };
    println!("took {} s", started.elapsed()?.as_secs());
    outcome
}

impl Counts {
    /// Starts the gateway in `folder`, copies of its router and enforcer under callgrind, and plays the script.
    fn take(program: &Path, options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let requests = usize::try_from(options.requests)?;
        std::fs::create_dir_all(folder)?;
        let upstream = Upstream::start()?;
        let definition = folder.join("bench.yaml");
        std::fs::write(
            &definition,
            gateway::definition(upstream.address().port(), script::PATHS),
        )?;
        let mut definitions = vec![definition];
        definitions.extend(others(options.routes, folder)?);
        let gateway = Gateway::start(program, folder, &definitions)?;
        eprintln!("xtask: starting router and enforcer under callgrind");
        let copy = |name: &str, pid: u32, changes: &[(&str, String)]| {
            let mut variables = environment(pid)?;
            for (variable, value) in &mut variables {
                // The addresses of the others are taken.
                if variable.to_string_lossy().ends_with("_BIND") {
                    *value = "127.0.0.1:0".into();
                }
            }
            let changes = changes.iter().map(|(name, value)| ((*name).into(), value.into()));
            variables.extend(changes.chain([("TRIREME_WORKERS".into(), "1".into())]));
            Counted::start(program, name, variables, &folder.join("counted"))
        };
        let mut enforcer = copy("enforcer", gateway.enforcer, &[])?;
        let mut router = copy(
            "router",
            gateway.router,
            &[
                ("ENFORCER_PORT", enforcer.port("grpc")?.to_string()),
                ("ENFORCER_REST_PORT", enforcer.port("rest")?.to_string()),
            ],
        )?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, router.port("http")?));
        // Routes come when both have their snapshots.
        let served = || Caller::connect(address, &gateway.token)?.play(&ROWS[0], 1);
        until("the counted gateway", callgrind::START, || served().is_ok())
            .or_else(|late| served().map(drop).context(late))?;

        let mut caller = Caller::connect(address, &gateway.token)?;
        router.instrument()?;
        enforcer.instrument()?;
        for row in &ROWS {
            caller.play(row, WARM_UP / ROWS.len())?;
        }
        router.take()?;
        let valgrind = enforcer.take()?.version;
        let mut blocks: Blocks = ROWS.iter().map(|_| Default::default()).collect();
        for block in 1..=BLOCKS {
            eprintln!("xtask: block {block} of {BLOCKS}");
            for (row, [of_router, of_enforcer]) in ROWS.iter().zip(&mut blocks) {
                let made = caller.play(row, requests)?;
                let made = u64::try_from(made)?;
                of_router.push(router.take()?.totals / made);
                of_enforcer.push(enforcer.take()?.totals / made);
            }
        }
        Ok(Self { blocks, valgrind })
    }

    fn print(&self, program: &Path, requests: u32) {
        println!(
            "instructions per request, {}, callgrind {}, {BLOCKS} blocks of {requests}",
            program.display(),
            self.valgrind
        );
        for (row, processes) in ROWS.iter().zip(&self.blocks) {
            for (process, counts) in PROCESSES.iter().zip(processes) {
                let each: String = counts.iter().map(|count| format!("{count:8}")).collect();
                let Some(spread) = spread(counts) else { continue };
                let range = match spread.median >= IDLE as f64 {
                    true => format!(
                        "{:.2} %",
                        (spread.greatest - spread.least) / spread.median * 100.0
                    ),
                    false => "idle".to_owned(),
                };
                println!(
                    "{:<8} {process:<8} {each}  median {:8.0}  spread {range}",
                    row.name, spread.median
                );
            }
        }
    }

    fn figures(&self) -> anyhow::Result<BTreeMap<String, Figures>> {
        let median = |counts: &[u64]| {
            let mut sorted = counts.to_vec();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied().context("no block")
        };
        let row = |(row, [router, enforcer]): (&Row, &[Vec<u64>; 2])| {
            let figures = Figures {
                router: median(router)?,
                enforcer: median(enforcer)?,
            };
            Ok((row.name.to_owned(), figures))
        };
        ROWS.iter().zip(&self.blocks).map(row).collect()
    }
}

/// Definitions of other APIs that have so many routes together.
fn others(routes: u32, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    const EACH: u32 = 1000;
    let api = |api: u32| {
        let path = folder.join(format!("other{api}.yaml"));
        let paths = (0..EACH.min(routes - api * EACH))
            .map(|path| format!("  /things{path}/{{id}}: {{ get: {{}} }}\n"));
        let text = format!(
            "openapi: 3.0.3\ninfo: {{ title: Other{api}, version: 1.0.0 }}\nx-wso2-basePath: /other{api}/1.0.0\n\
             servers: [ {{ url: 'http://127.0.0.1:9/' }} ]\npaths:\n{}",
            paths.collect::<String>()
        );
        std::fs::write(&path, text)?;
        Ok(path)
    };
    (0..routes.div_ceil(EACH)).map(api).collect()
}

/// Prints the ratios; fails when there is a bound and one of them is above it.
fn compare(
    from: &BTreeMap<String, Figures>,
    to: &BTreeMap<String, Figures>,
    bound: Option<f64>,
) -> anyhow::Result<()> {
    let mut above = Vec::new();
    for row in &ROWS {
        let of = |figures: &BTreeMap<String, Figures>| {
            let found = figures.get(row.name).copied();
            found.with_context(|| format!("no figures of {}; --record writes them", row.name))
        };
        let (from, to) = (of(from)?, of(to)?);
        let sum = ("both", from.router + from.enforcer, to.router + to.enforcer);
        for (process, from, to) in [
            ("router", from.router, to.router),
            ("enforcer", from.enforcer, to.enforcer),
            sum,
        ] {
            let (name, ratio) = (row.name, ratio(from, to));
            match ratio {
                Some(ratio) => println!("{name:<8} {process:<8} {from:8} -> {to:8}  ratio {ratio:.3}"),
                None => println!("{name:<8} {process:<8} {from:8} -> {to:8}  idle"),
            }
            if let (Some(ratio), Some(bound)) = (ratio, bound)
                && ratio > bound
            {
                above.push(format!("{name} {process} {ratio:.3}"));
            }
        }
    }
    if !above.is_empty() {
        bail!("above the bound: {}", above.join(", "));
    }
    Ok(())
}

/// Absent where the process has no part in the request.
fn ratio(from: u64, to: u64) -> Option<f64> {
    (from.max(to) >= IDLE).then(|| to as f64 / from.max(1) as f64)
}

fn spread(counts: &[u64]) -> Option<Spread> {
    Spread::of(counts.iter().map(|count| *count as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(router: u64, enforcer: u64) -> BTreeMap<String, Figures> {
        let row = |row: &Row| (row.name.to_owned(), Figures { router, enforcer });
        ROWS.iter().map(row).collect()
    }

    #[test]
    fn what_is_above_the_bound_fails() {
        for (name, from, to, bound, want) in [
            ("equal", (50_000, 40_000), (50_000, 40_000), Some(1.0), true),
            ("within", (50_000, 40_000), (50_900, 40_000), Some(1.02), true),
            (
                "one process above",
                (50_000, 40_000),
                (50_000, 40_900),
                Some(1.02),
                false,
            ),
            ("no bound", (50_000, 40_000), (90_000, 90_000), None, true),
            ("idle", (50_000, 10), (50_000, 900), Some(1.02), true),
            ("no longer idle", (50_000, 10), (50_000, 1_000), Some(1.02), false),
        ] {
            let outcome = compare(&figures(from.0, from.1), &figures(to.0, to.1), bound);
            assert_eq!(outcome.is_ok(), want, "{name}");
        }
    }

    #[test]
    fn a_row_without_figures_fails() {
        assert!(compare(&BTreeMap::new(), &figures(1, 1), None).is_err());
    }
}
