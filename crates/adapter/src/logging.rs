//! `log_config.toml` as what the logger takes (spec/adapter.md 1.13).

use std::path::Path;
use std::time::Duration;

use trireme_config::{LogConfig, LogFormat, LogLevel};
use trireme_telemetry::{Level, LogSettings, Rotation};

/// Packages of the original that have a level of their own, and where their work is done here.
const PACKAGES: [(&str, &str); 7] = [
    ("internal/adapter", "trireme_adapter"),
    ("internal/api", "trireme_adapter::rest"),
    ("internal/auth", "trireme_adapter::rest"),
    ("internal/discovery/xds", "trireme_xds"),
    ("internal/notifier", "trireme_adapter::publish"),
    ("internal/oasparser", "trireme_adapter::translate"),
    ("internal/sourcewatcher", "trireme_adapter::source"),
];
const PREFIX: &str = "github.com/wso2/product-microgateway/adapter/";
/// What the original takes for a greatest size of 0, megabytes.
const NO_SIZE: u32 = 100;
/// The original keeps all files when their number is 0; we keep these many.
const ALL_BACKUPS: u32 = 1_000;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Level, form, file and rotation of the log; a relative file lies in `home`.
#[must_use]
pub(crate) fn settings(config: &LogConfig, home: &Path) -> LogSettings {
    let file = &config.logfile;
    let targets = config.packages.iter().filter_map(|package| {
        let target = target(&package.name)?;
        Some((target.to_owned(), level(package.log_level)))
    });
    LogSettings {
        level: level(config.log_level),
        targets: targets.collect(),
        format: match config.log_format {
            LogFormat::Json => trireme_telemetry::LogFormat::Json,
            LogFormat::Text => trireme_telemetry::LogFormat::Text,
        },
        file: (!file.as_os_str().is_empty()).then(|| (home.join(file), Some(rotation(&config.rotation)))),
        ..LogSettings::default()
    }
}

/// A package by the original's import path, or one of ours by its target; none when it is neither, as in the original.
fn target(package: &str) -> Option<&str> {
    if package.starts_with("trireme_") {
        return Some(package);
    }
    let name = package.strip_prefix(PREFIX)?;
    let mut packages = PACKAGES.iter();
    packages
        .find(|(theirs, _)| *theirs == name)
        .map(|(_, ours)| *ours)
}

fn level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info => Level::Info,
        LogLevel::Warn => Level::Warn,
        LogLevel::Error | LogLevel::Fatal | LogLevel::Panic => Level::Error,
    }
}

fn rotation(rotation: &trireme_config::Rotation) -> Rotation {
    let or = |number: u32, otherwise| if number == 0 { otherwise } else { number };
    Rotation {
        max_bytes: u64::from(or(rotation.max_size, NO_SIZE)) << 20,
        backups: or(rotation.max_backups, ALL_BACKUPS),
        max_age: (rotation.max_age > 0).then(|| DAY.saturating_mul(rotation.max_age)),
        compress: rotation.compress,
    }
}

#[cfg(test)]
mod tests {
    use trireme_config::Package;

    use super::*;

    #[test]
    fn what_the_file_says_is_what_the_logger_takes() {
        let package = |name: &str| Package {
            name: name.to_owned(),
            log_level: LogLevel::Debug,
        };
        let config = LogConfig {
            logfile: "logs/adapter.log".into(),
            packages: vec![
                package("github.com/wso2/product-microgateway/adapter/internal/discovery/xds"),
                package("github.com/elsewhere/adapter/internal/discovery/xds"),
                package("trireme_openapi"),
            ],
            ..LogConfig::default()
        };
        let got = settings(&config, Path::new("/home/gateway"));
        assert_eq!(
            got.targets,
            ["trireme_xds", "trireme_openapi"].map(|target| (target.to_owned(), Level::Debug))
        );
        let want = Rotation {
            max_bytes: 10 << 20,
            backups: 3,
            max_age: Some(2 * DAY),
            compress: true,
        };
        assert_eq!(
            got.file,
            Some(("/home/gateway/logs/adapter.log".into(), Some(want)))
        );
        assert_eq!(settings(&LogConfig::default(), Path::new("/")).file, None);
        let zero = trireme_config::Rotation {
            max_size: 0,
            max_backups: 0,
            max_age: 0,
            ..trireme_config::Rotation::default()
        };
        let got = rotation(&zero);
        assert_eq!(
            (got.max_bytes, got.backups, got.max_age),
            (100 << 20, 1_000, None)
        );
    }
}
