//! `log_config.toml`.

use std::path::PathBuf;

use crate::schema::{keyword, section};

/// Access log line of the original when the file sets none, in Envoy's format words.
const ACCESS_LOG_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" \
%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \
\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

section! {
    /// Everything in `log_config.toml`.
    pub struct LogConfig {
        /// File that gets a copy of the adapter's log; empty for none.
        logfile["logfile"]: PathBuf,
        /// Least level that is logged: DEBG, INFO, WARN, ERRO, FATL or PANC.
        log_level["logLevel"]: LogLevel = LogLevel::Info,
        /// TEXT or JSON.
        log_format["LogFormat"]: LogFormat = LogFormat::Text,
        /// When the file is put aside for a new one.
        rotation["rotation"]: Rotation,
        /// Levels of single packages.
        packages["pkg"]: Vec<Package>,
        /// The router's access log.
        access_logs["accessLogs"]: AccessLogs,
        /// The router's log of whole messages.
        wire_logs["wireLogs"]: WireLogs,
    }
}

keyword! {
    /// A level of the adapter's log.
    pub enum LogLevel else Info {
        /// Everything.
        Debug = "DEBG",
        /// Changes of state.
        Info = "INFO",
        /// Degraded, and coping.
        Warn = "WARN",
        /// Somebody must act.
        Error = "ERRO",
        /// As `ERRO`.
        Fatal = "FATL",
        /// As `ERRO`.
        Panic = "PANC",
    }
}

keyword! {
    /// Shape of a log line.
    pub enum LogFormat else Text {
        /// For people.
        Text = "TEXT",
        /// For machines.
        Json = "JSON",
    }
}

section! {
    /// When the log file is put aside for a new one.
    pub struct Rotation {
        /// Accepted as in the original, where it has no meaning.
        ip["IP"]: String,
        /// Accepted as in the original, where it has no meaning.
        port["Port"]: String,
        /// Greatest size of the file in megabytes.
        max_size["MaxSize"]: u32 = 10,
        /// Most old files.
        max_backups["MaxBackups"]: u32 = 3,
        /// Most days an old file is kept.
        max_age["MaxAge"]: u32 = 2,
        /// Compress old files.
        compress["Compress"]: bool = true,
    }
}

section! {
    /// The level of one package.
    pub struct Package {
        /// Name of the package in the original.
        name["name"]: String,
        /// Its least level.
        log_level["logLevel"]: LogLevel = LogLevel::Info,
    }
}

section! {
    /// The router's access log.
    #[switch("enable")]
    pub struct AccessLogs {
        /// Write it.
        enable["enable"]: bool = false,
        /// File on the router.
        logfile["logfile"]: PathBuf = "/dev/stdout".into(),
        /// One line, in Envoy's format words.
        format["format"]: String = ACCESS_LOG_FORMAT.to_owned(),
    }
}

section! {
    /// The router's log of whole messages.
    #[switch("enable")]
    pub struct WireLogs {
        /// Write it.
        enable["enable"]: bool = false,
        /// What is written: Body, Headers, Trailers.
        include["include"]: Vec<String> = ["Body", "Headers", "Trailers"].map(str::to_owned).into(),
    }
}
