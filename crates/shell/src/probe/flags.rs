//! The arguments of `grpc_health_probe`, as its own parser (Go's `flag`) takes them: `-name value`, `-name=value`, with one
//! dash or two; a flag that is true or false takes its value with `=` only.

use std::time::Duration;

/// What is asked, and how. Defaults are those of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    /// `-addr`: `host:port`.
    pub(super) addr: String,
    /// `-service`; empty for the server as a whole.
    pub(super) service: String,
    /// `-user-agent`.
    pub(super) user_agent: String,
    /// `-connect-timeout`: for connecting, the handshake included.
    pub(super) connect_timeout: Duration,
    /// `-rpc-timeout`: for the call.
    pub(super) rpc_timeout: Duration,
    /// `-tls`, with what goes with it.
    pub(super) tls: Option<Tls>,
    /// `-v`.
    pub(super) verbose: bool,
    /// `-version`: say which program this is, and nothing else.
    pub(super) version: bool,
}

/// How TLS is spoken. Empty texts stand for what was not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// `-tls-no-verify`.
    pub(super) no_verify: bool,
    /// `-tls-ca-cert`; without it the system's roots are trusted.
    pub(super) ca: String,
    /// `-tls-client-cert`.
    pub(super) certificate: String,
    /// `-tls-client-key`.
    pub(super) key: String,
    /// `-tls-server-name`; without it the host of `-addr` is expected.
    pub(super) server_name: String,
}

impl Flags {
    /// Reads the arguments that follow the program's name.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut flags = Self {
            addr: String::new(),
            service: String::new(),
            user_agent: "grpc_health_probe".to_owned(),
            connect_timeout: Duration::from_secs(1),
            rpc_timeout: Duration::from_secs(1),
            tls: None,
            verbose: false,
            version: false,
        };
        let (mut with_tls, mut tls) = (false, Tls::default());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-').filter(|flag| !flag.is_empty()) else {
                break;
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            if flag.is_empty() {
                break;
            }
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            let switch = match name {
                "tls" => Some(&mut with_tls),
                "tls-no-verify" => Some(&mut tls.no_verify),
                "v" => Some(&mut flags.verbose),
                "version" => Some(&mut flags.version),
                _ => None,
            };
            if let Some(switch) = switch {
                *switch = match &given {
                    Some(value) => truth(name, value)?,
                    None => true,
                };
                continue;
            }
            let mut value = || {
                given
                    .clone()
                    .or_else(|| words.next().cloned())
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name {
                "addr" => flags.addr = value()?,
                "service" => flags.service = value()?,
                "user-agent" => flags.user_agent = value()?,
                "connect-timeout" => flags.connect_timeout = duration(name, &value()?)?,
                "rpc-timeout" => flags.rpc_timeout = duration(name, &value()?)?,
                "tls-ca-cert" => tls.ca = value()?,
                "tls-client-cert" => tls.certificate = value()?,
                "tls-client-key" => tls.key = value()?,
                "tls-server-name" => tls.server_name = value()?,
                "alts" | "gzip" | "rpc-header" | "spiffe" => {
                    return Err(format!("-{name} is not supported here"));
                }
                _ => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        flags.check(with_tls, tls)
    }

    /// What goes with what, as the program has it.
    fn check(mut self, with_tls: bool, tls: Tls) -> Result<Self, String> {
        if self.version {
            return Ok(self);
        }
        if self.addr.is_empty() {
            return Err("-addr not specified".to_owned());
        }
        for (name, time) in [
            ("-connect-timeout", self.connect_timeout),
            ("-rpc-timeout", self.rpc_timeout),
        ] {
            if time.is_zero() {
                return Err(format!("{name} must be greater than zero"));
            }
        }
        let named = [
            ("-tls-no-verify", tls.no_verify),
            ("-tls-ca-cert", !tls.ca.is_empty()),
            ("-tls-client-cert", !tls.certificate.is_empty()),
            ("-tls-server-name", !tls.server_name.is_empty()),
        ];
        if let Some((name, _)) = named.iter().find(|(_, named)| *named && !with_tls) {
            return Err(format!("specified {name} without specifying -tls"));
        }
        let wrong = match (tls.certificate.is_empty(), tls.key.is_empty()) {
            (false, true) => "specified -tls-client-cert without specifying -tls-client-key",
            (true, false) => "specified -tls-client-key without specifying -tls-client-cert",
            _ if tls.no_verify && !tls.ca.is_empty() => {
                "cannot specify -tls-ca-cert with -tls-no-verify (CA cert would not be used)"
            }
            _ if tls.no_verify && !tls.server_name.is_empty() => {
                "cannot specify -tls-server-name with -tls-no-verify (server name would not be used)"
            }
            _ => {
                self.tls = with_tls.then_some(tls);
                return Ok(self);
            }
        };
        Err(wrong.to_owned())
    }
}

fn truth(name: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid boolean value {value:?} for -{name}")),
    }
}

/// Go's durations: numbers with units, one after the other, such as `1m30s` or `1.5s`.
fn duration(name: &str, value: &str) -> Result<Duration, String> {
    let wrong = || format!("invalid value {value:?} for flag -{name}: parse error");
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = value.strip_prefix('+').unwrap_or(value);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(wrong)?;
        let (number, after) = rest.split_at_checked(end).ok_or_else(wrong)?;
        let end = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or_else(wrong)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if value.is_empty() {
        return Err(wrong());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Flags::parse(&words)
    }

    #[test]
    fn what_the_originals_scripts_give() {
        let flags = parse(&[
            "-addr",
            "127.0.0.1:18000",
            "-tls",
            "-tls-ca-cert",
            "mg.pem",
            "--tls-client-cert=mg.pem",
            "-tls-client-key",
            "mg.key",
            "-tls-server-name",
            "adapter",
            "-connect-timeout=3s",
        ])
        .unwrap();
        assert_eq!(flags.addr, "127.0.0.1:18000");
        assert_eq!(
            (flags.connect_timeout, flags.rpc_timeout),
            (Duration::from_secs(3), Duration::from_secs(1))
        );
        let want = Tls {
            no_verify: false,
            ca: "mg.pem".to_owned(),
            certificate: "mg.pem".to_owned(),
            key: "mg.key".to_owned(),
            server_name: "adapter".to_owned(),
        };
        assert_eq!(flags.tls, Some(want));
        let plain = parse(&["-addr=:1", "-tls=false", "-v", "--", "-nonsense"]).unwrap();
        assert_eq!((plain.tls, plain.verbose, &*plain.service), (None, true, ""));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: [(&[&str], &str); 14] = [
            (&[], "-addr not specified"),
            (&["addr"], "-addr not specified"),
            (&["-addr"], "flag needs an argument: -addr"),
            (
                &["-addr=a:1", "-nonsense"],
                "flag provided but not defined: -nonsense",
            ),
            (&["-addr=a:1", "-spiffe"], "-spiffe is not supported here"),
            (
                &["-addr=a:1", "-tls=maybe"],
                "invalid boolean value \"maybe\" for -tls",
            ),
            (
                &["-addr=a:1", "-rpc-timeout=3"],
                "invalid value \"3\" for flag -rpc-timeout: parse error",
            ),
            (
                &["-addr=a:1", "-rpc-timeout=99999999999999999999h"],
                "invalid value \"99999999999999999999h\" for flag -rpc-timeout: parse error",
            ),
            (
                &["-addr=a:1", "-connect-timeout=0"],
                "-connect-timeout must be greater than zero",
            ),
            (
                &["-addr=a:1", "-tls-ca-cert=x"],
                "specified -tls-ca-cert without specifying -tls",
            ),
            (
                &["-addr=a:1", "-tls", "-tls-client-cert=x"],
                "specified -tls-client-cert without specifying -tls-client-key",
            ),
            (
                &["-addr=a:1", "-tls", "-tls-client-key=x"],
                "specified -tls-client-key without specifying -tls-client-cert",
            ),
            (
                &["-addr=a:1", "-tls", "-tls-no-verify", "-tls-ca-cert=x"],
                "cannot specify -tls-ca-cert with -tls-no-verify (CA cert would not be used)",
            ),
            (
                &["-addr=a:1", "-tls", "-tls-no-verify", "-tls-server-name=x"],
                "cannot specify -tls-server-name with -tls-no-verify (server name would not be used)",
            ),
        ];
        for (words, want) in cases {
            assert_eq!(parse(words).unwrap_err(), want, "{words:?}");
        }
    }

    #[test]
    fn durations_are_those_of_go() {
        let cases = [
            ("3s", Some(3_000)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1_500)),
            ("250ms", Some(250)),
            ("+2s", Some(2_000)),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("3 s", None),
            ("1.2.3s", None),
        ];
        for (text, want) in cases {
            let got = duration("x", text).ok();
            assert_eq!(got, want.map(Duration::from_millis), "{text}");
        }
    }
}
