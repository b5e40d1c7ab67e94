//! `log_config.toml` as what the logger takes (spec/adapter.md 1.13), at start and when the file changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use trireme_config::{Env, LogConfig, LogLevel, Warning};
use trireme_telemetry::{Level, LogHandle, LogSettings, Rotation};

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
/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(5);
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
        targets: targets.collect(),
        file: (!file.as_os_str().is_empty()).then(|| (home.join(file), Some(rotation(&config.rotation)))),
        ..LogSettings::of_words(config.log_level.as_str(), config.log_format.as_str())
    }
}

/// Puts the levels of the file in force whenever it has changed, until `stop` (spec/deployment.md 8.4). One that can't be
/// used changes nothing. Looking beats being told here: the file may be a link that is swapped, and nothing is lost by a
/// few seconds.
pub(crate) async fn follow(handle: &LogHandle, file: &Path, variables: &Env, stop: &CancellationToken) {
    let mut held = stamp(file);
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        let now = stamp(file);
        if now == held {
            continue;
        }
        held = now;
        let loaded = trireme_config::load_log(Some(file), variables);
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "configuration");
        }
        let unusable = |warning: &Warning| matches!(warning, Warning::UnusableFile { .. });
        if !loaded.warnings.iter().any(unusable) {
            let settings = settings(&loaded.config, Path::new(""));
            handle.set_levels(settings.level, &settings.targets);
            tracing::info!(levels = handle.levels(), "log levels changed");
        }
    }
}

/// What tells one state of a file from another.
fn stamp(file: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
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

/// By the word, which all levels of the file are to the logger as well.
fn level(level: LogLevel) -> Level {
    level.as_str().parse().unwrap_or_default()
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
    use trireme_config::{LogFormat, Package};
    use trireme_telemetry::LogFormat as Layout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn levels_follow_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log_config.toml");
        std::fs::write(&file, "").unwrap();
        let handle = trireme_telemetry::init(&LogSettings::default()).unwrap();
        let (variables, stop) = (Env::default(), CancellationToken::new());
        let changes = async {
            for (text, want) in [
                ("logLevel = \"WARN\"", "warn"),
                ("logLevel = 5 # no level", "warn"),
                (
                    "[[pkg]]\nname = \"trireme_xds\"\nlogLevel = \"DEBG\"",
                    "trireme_xds=debug",
                ),
            ] {
                std::fs::write(&file, text).unwrap();
                tokio::time::sleep(3 * LOOK).await;
                assert!(handle.levels().contains(want), "{text}: {}", handle.levels());
            }
            stop.cancel();
        };
        tokio::join!(follow(&handle, &file, &variables, &stop), changes);
    }

    #[test]
    fn every_word_of_the_file_is_one_of_the_logger() {
        let of = |log_level, log_format| {
            let config = LogConfig {
                log_level,
                log_format,
                ..LogConfig::default()
            };
            let got = settings(&config, Path::new("/"));
            (got.level, got.format, level(log_level))
        };
        for (word, want) in [
            (LogLevel::Debug, Level::Debug),
            (LogLevel::Info, Level::Info),
            (LogLevel::Warn, Level::Warn),
            (LogLevel::Error, Level::Error),
            (LogLevel::Fatal, Level::Error),
            (LogLevel::Panic, Level::Error),
        ] {
            assert_eq!(of(word, LogFormat::Text), (want, Layout::Text, want));
            assert_eq!(of(word, LogFormat::Json), (want, Layout::Json, want));
        }
    }

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
                package("trireme_project"),
            ],
            ..LogConfig::default()
        };
        let got = settings(&config, Path::new("/home/gateway"));
        assert_eq!(
            got.targets,
            ["trireme_xds", "trireme_project"].map(|target| (target.to_owned(), Level::Debug))
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
