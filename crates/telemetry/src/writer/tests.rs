use std::fs;

use tempfile::tempdir;

use super::*;

const SLOW: WriterSettings = WriterSettings {
    max_waiting_bytes: 1 << 20,
    flush_interval: Duration::from_secs(3600),
    rotation: None,
};

const ROTATION: Rotation = Rotation {
    max_bytes: 1,
    backups: 1,
    max_age: None,
    compress: false,
};

#[test]
fn lines_arrive_in_order_and_whole_from_many_threads() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("deep/access.log");
    let writer = LineWriter::open(&path, WriterSettings::default()).unwrap();
    thread::scope(|scope| {
        for name in ["a", "b"] {
            let writer = writer.clone();
            scope.spawn(move || {
                for number in 0..5_000 {
                    assert!(writer.write(format!("{name} {number}\n").as_bytes()));
                }
            });
        }
    });
    drop(writer);
    let text = fs::read_to_string(&path).unwrap();
    for name in ["a ", "b "] {
        let numbers: Vec<u32> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .map(|number| number.parse().unwrap())
            .collect();
        assert!(numbers.iter().copied().eq(0..5_000), "{name}");
    }
    assert_eq!(text.lines().count(), 10_000);
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = LineWriter::open(
        &path,
        WriterSettings {
            max_waiting_bytes: 10,
            ..SLOW
        },
    )
    .unwrap();
    assert!(writer.write(b"12345678\n"));
    assert!(!writer.write(b"ab\n"));
    assert!(!writer.write(b"cd\n"));
    assert!(writer.flush());
    assert_eq!((writer.written(), writer.dropped()), (1, 2));
    assert!(writer.write(b"again\n"));
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "12345678\nagain\n");
}

#[test]
fn a_moved_file_is_opened_anew() {
    let folder = tempdir().unwrap();
    let (path, aside) = (folder.path().join("log"), folder.path().join("log.1"));
    let writer = LineWriter::open(&path, SLOW).unwrap();
    writer.write(b"first\n");
    assert!(writer.flush());
    fs::rename(&path, &aside).unwrap();
    writer.reopen();
    writer.write(b"second\n");
    assert!(writer.flush());
    assert_eq!(fs::read_to_string(&aside).unwrap(), "first\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
}

#[test]
fn a_full_file_is_put_aside() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let rotation = Some(Rotation {
        max_bytes: 12,
        backups: 2,
        ..ROTATION
    });
    let writer = LineWriter::open(&path, WriterSettings { rotation, ..SLOW }).unwrap();
    for number in 0..5 {
        writer.write(format!("line {number}\n").as_bytes());
        assert!(writer.flush());
    }
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert_eq!(
        (read("log"), read("log.1"), read("log.2")),
        (
            "line 4\n".to_owned(),
            "line 3\n".to_owned(),
            "line 2\n".to_owned()
        )
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

/// What a log file does that is mounted by itself, or lies in a folder where we may not rename.
#[test]
fn a_file_that_cannot_be_put_aside_goes_on_growing() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    fs::create_dir(folder.path().join("log.1")).unwrap();
    let rotation = Some(ROTATION);
    let writer = LineWriter::open(&path, WriterSettings { rotation, ..SLOW }).unwrap();
    for line in ["a\n", "b\n", "c\n"] {
        writer.write(line.as_bytes());
        assert!(writer.flush());
    }
    assert_eq!((writer.written(), writer.dropped()), (3, 0));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\nc\n");
}

#[test]
fn files_put_aside_are_compressed_and_go_when_they_are_old() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let old = |name: &str| {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    };
    // From a time without compression, and too old.
    old("log.1");
    old("log.3.gz");
    let rotation = Some(Rotation {
        backups: 5,
        max_age: Some(Duration::from_secs(60)),
        compress: true,
        ..ROTATION
    });
    let writer = LineWriter::open(&path, WriterSettings { rotation, ..SLOW }).unwrap();
    for line in ["a\n", "b\n", "c\n"] {
        writer.write(line.as_bytes());
        assert!(writer.flush());
    }
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["log", "log.1.gz", "log.2.gz"]);
    let mut text = String::new();
    let file = fs::File::open(folder.path().join("log.2.gz")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).unwrap();
    assert_eq!(text, "a\n");
}

#[test]
fn a_failing_disk_loses_lines_and_nothing_else() {
    if !Path::new("/dev/full").exists() {
        return;
    }
    let writer = LineWriter::open(Path::new("/dev/full"), SLOW).unwrap();
    assert!(writer.write(b"lost\n"));
    assert!(writer.flush());
    assert!(writer.write(b"lost too\n"));
    assert!(writer.flush());
    assert_eq!((writer.written(), writer.dropped()), (0, 2));
}

#[test]
fn standard_streams_need_no_file() {
    for path in ["/dev/stdout", "/dev/stderr"] {
        let writer = LineWriter::open(Path::new(path), SLOW).unwrap();
        assert!(writer.flush());
    }
    let folder = tempdir().unwrap();
    let error = LineWriter::open(folder.path(), SLOW).unwrap_err();
    assert_eq!(error.path, folder.path());
}
