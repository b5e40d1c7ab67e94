//! wrk in front, nginx behind, and the CPU that the two between them cost.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::gateway::definition;
use super::process::{Guard, cpu, free_port, until};

pub(super) const CONNECTIONS: &str = "64";
/// Wait for a program to come up.
pub(super) const START: Duration = Duration::from_secs(20);

/// What is under load and whose CPU counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) url: &'a str,
    pub(super) token: &'a str,
    pub(super) proxy: u32,
    pub(super) enforcer: u32,
}

/// One measurement; CPU in microseconds per request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) proxy: f64,
    pub(super) enforcer: f64,
    pub(super) rate: f64,
    pub(super) p99_ms: f64,
}

impl Sample {
    pub(super) fn sum(&self) -> f64 {
        self.proxy + self.enforcer
    }

    pub(super) fn print(&self, round: usize, name: &str) {
        println!(
            "round {round}  {name:<8} proxy {:6.1}  enforcer {:5.1}  sum {:6.1}  {:7.0} requests/s  p99 {:.2} ms",
            self.proxy,
            self.enforcer,
            self.sum(),
            self.rate,
            self.p99_ms,
        );
    }
}

impl Target<'_> {
    /// Fails unless the API is served with the token and refused without.
    pub(super) fn probe(&self, name: &str) -> anyhow::Result<()> {
        let (with, without) = (status(self.url, self.token)?, status(self.url, "none")?);
        println!("{name}: {with} with the token, {without} without");
        if (with.as_str(), without.as_str()) != ("200", "401") {
            bail!("{name} does not serve the API as it should");
        }
        Ok(())
    }

    /// Puts load on the target, after a second that doesn't count, and takes the CPU that it cost.
    pub(super) fn sample(&self, seconds: u32) -> anyhow::Result<Sample> {
        load(self.url, self.token, 1)?;
        let before = (cpu(self.proxy)?, cpu(self.enforcer)?);
        let load = load(self.url, self.token, seconds)?;
        let after = (cpu(self.proxy)?, cpu(self.enforcer)?);
        let per_request = |from: f64, to: f64| (to - from) * 1e6 / load.requests;
        Ok(Sample {
            proxy: per_request(before.0, after.0),
            enforcer: per_request(before.1, after.1),
            rate: load.requests / f64::from(seconds),
            p99_ms: load.p99_ms,
        })
    }
}

struct Load {
    requests: f64,
    p99_ms: f64,
}

/// Runs wrk; any answer that is not 2xx or any broken connection fails.
fn load(url: &str, token: &str, seconds: u32) -> anyhow::Result<Load> {
    let output = Command::new("wrk")
        .args(["-t1", "-c", CONNECTIONS, "--latency", "-d"])
        .arg(format!("{seconds}s"))
        .args(["-H", &format!("Authorization: Bearer {token}"), url])
        .output()
        .context("wrk (Debian package wrk)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || text.contains("Socket errors") {
        bail!("errors under load:\n{text}");
    }
    let requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let p99 = text
        .lines()
        .find_map(|line| milliseconds(line.trim().strip_prefix("99%")?.trim()));
    Ok(Load {
        requests: requests.with_context(|| format!("wrk printed no count:\n{text}"))?,
        p99_ms: p99.context("wrk printed no 99th percentile")?,
    })
}

/// `1.23ms`, `456.00us` or `1.02s` in milliseconds.
fn milliseconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| c.is_ascii_alphabetic())?)?;
    let factor = match unit {
        "us" => 1e-3,
        "ms" => 1.0,
        "s" => 1e3,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// Status code of one call, by curl.
pub(super) fn status(url: &str, token: &str) -> anyhow::Result<String> {
    let output = Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-m", "5", "-w", "%{http_code}", "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(url)
        .output()
        .context("curl")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// nginx with one worker, and the definition of an API before it, both in `folder`.
pub(super) fn upstream(folder: &Path) -> anyhow::Result<(Guard, PathBuf)> {
    let port = free_port()?;
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(86));
    let config = format!(
        "daemon off; worker_processes 1; pid {pid}; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {temp}; proxy_temp_path {temp}; fastcgi_temp_path {temp}; uwsgi_temp_path {temp}; scgi_temp_path {temp};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{body}'; }} }}
}}
",
        pid = folder.join("nginx.pid").display(),
        temp = folder.display(),
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config)?;
    let child = Command::new("nginx")
        .arg("-c")
        .arg(&path)
        .spawn()
        .context("nginx (Debian package nginx-light)")?;
    let nginx = Guard::new(child);
    until("nginx", START, || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
    let path = folder.join("bench.yaml");
    let paths = "  /item:\n    get: { responses: { '200': { description: one } } }\n";
    std::fs::write(&path, definition(port, paths))?;
    Ok((nginx, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_wrk_are_read_with_their_unit() {
        for (text, want) in [
            ("1.23ms", Some(1.23)),
            ("500.00us", Some(0.5)),
            ("1.02s", Some(1020.0)),
            ("1.00m", None),
            ("ms", None),
            ("12", None),
        ] {
            assert_eq!(milliseconds(text), want, "{text}");
        }
    }
}
