use std::fs;

use super::*;
use crate::writer::OpenError;

#[test]
fn level_words() {
    let cases = [
        ("DEBG", Level::Debug),
        ("INFO", Level::Info),
        ("WARN", Level::Warn),
        ("ERRO", Level::Error),
        ("FATL", Level::Error),
        ("PANC", Level::Error),
        ("debug", Level::Debug),
        ("Trace", Level::Trace),
        ("off", Level::Off),
    ];
    for (word, want) in cases {
        assert_eq!(word.parse(), Ok(want), "{word}");
    }
    assert_eq!("LOUD".parse::<Level>(), Err(UnknownLevel("LOUD".to_owned())));
}

#[test]
fn settings_by_words() {
    let cases = [
        ("DEBG", "JSON", Level::Debug, LogFormat::Json),
        ("PANC", "json", Level::Error, LogFormat::Json),
        ("WARN", "TEXT", Level::Warn, LogFormat::Text),
        ("LOUD", "XML", Level::Info, LogFormat::Text),
    ];
    for (level, format, want, layout) in cases {
        let got = LogSettings::of_words(level, format);
        assert_eq!((got.level, got.format), (want, layout), "{level} {format}");
    }
}

/// One test, as there is one logger in a process.
#[test]
fn events_reach_the_file_by_level_on_one_line_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trireme.log");
    let settings = LogSettings {
        level: Level::Info,
        targets: vec![
            ("chatty".to_owned(), Level::Warn),
            ("chatty::inner".to_owned(), Level::Debug),
        ],
        file: Some((path.clone(), None)),
        ..LogSettings::default()
    };
    let handle = init(&settings).unwrap();
    tracing::info!(target: "app", port = 9090, name = "two words", "ready");
    tracing::debug!(target: "app", "unheard");
    tracing::info!(target: "chatty", "unheard");
    tracing::debug!(target: "chatty::inner", "heard");
    tracing::warn!(target: "app", agent = "x\n2024 FAKE \u{1b}[2J", "odd\nmessage");
    let error = OpenError {
        path: "/x".into(),
        source: io::Error::other("the cause"),
    };
    tracing::error!(target: "app", error = &error as &dyn std::error::Error, "failed");

    let again = init(&LogSettings {
        level: Level::Error,
        ..LogSettings::default()
    })
    .unwrap();
    tracing::warn!(target: "app", "unheard");
    handle.set_levels(Level::Debug, &[]);
    assert!(again.levels().contains("debug"), "{}", again.levels());
    tracing::debug!(target: "app", "heard at last");
    tracing::debug!(target: "h2::codec", "unheard");
    handle.flush();

    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.get(24..)).collect();
    assert_eq!(
        lines,
        [
            "INFO  [app] ready port=9090 name=\"two words\"",
            "DEBUG [chatty::inner] heard",
            "WARN  [app] odd\\nmessage agent=\"x\\u000a2024 FAKE \\u001b[2J\"",
            "ERROR [app] failed error=\"/x: log file cannot be opened: the cause\"",
            "DEBUG [app] heard at last",
        ],
        "{text}"
    );
    let stamp = text.get(..24).unwrap();
    assert!(
        stamp.starts_with("20") && stamp.ends_with(' ') && stamp.get(10..11) == Some(" "),
        "{stamp}"
    );
}

#[test]
fn json_lines_are_objects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = LineWriter::open(&path, WriterSettings::default()).unwrap();
    let subscriber = Registry::default().with(layer(LogFormat::Json, false, FileWriter(writer.clone())));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(target: "app", port = 9090, agent = "x\ny", "ready");
    });
    assert!(writer.flush());
    let text = fs::read_to_string(&path).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "app");
    assert_eq!(line["message"], "ready");
    assert_eq!(line["port"], 9090);
    assert_eq!(line["agent"], "x\ny");
    assert!(line["timestamp"].is_string());
}
