//! Prints `conf/config.toml.template`; `cargo xtask golden` writes it to its place.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(trireme_config::template().as_bytes())
}
