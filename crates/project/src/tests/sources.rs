use super::*;
use crate::source::clean;
use crate::{Archive, Folder, Limits, ProjectSource, archive};
use proptest::prelude::*;
use std::io::{Cursor, Write};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn load(archive: &[u8], limits: &Limits) -> Result<Vec<String>, Vec<String>> {
    let wanted = |path: &str| path.ends_with(".yaml");
    Archive(archive)
        .load(limits, &wanted)
        .map(|files| files.into_keys().collect())
        .map_err(|findings| lines(&findings))
}

/// An archive with the names exactly as given.
fn raw(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer
            .start_file(*name, SimpleFileOptions::default().compression_method(method))
            .unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn names_that_leave_the_project() {
    let cases = [
        (
            "../api.yaml",
            "error: ../api.yaml: entry name leads out of the project",
        ),
        (
            "p/../../api.yaml",
            "error: p/../../api.yaml: entry name leads out of the project",
        ),
        ("p/..", "error: p/..: entry name leads out of the project"),
        (
            "/etc/api.yaml",
            "error: /etc/api.yaml: entry name is an absolute path",
        ),
        (
            "C:/api.yaml",
            "error: C:/api.yaml: entry name is an absolute path",
        ),
        (
            "..\\api.yaml",
            "error: ..\\\\api.yaml: entry name has a backslash",
        ),
        (
            "a\u{0}.yaml",
            "error: a\\0.yaml: entry name has a control character",
        ),
        ("a\n.yaml", "error: a\\n.yaml: entry name has a control character"),
    ];
    for (name, want) in cases {
        let packed = raw(&[("p/api.yaml", b"x"), (name, b"x")], CompressionMethod::Deflated);
        assert_eq!(
            load(&packed, &Limits::default()),
            Err(vec![want.to_owned()]),
            "{name:?}"
        );
    }
    let long = "a/".repeat(600) + "api.yaml";
    let deep = "a/".repeat(40) + "api.yaml";
    for (name, want) in [(long, "entry name is too long"), (deep, "entry lies too deep")] {
        assert_eq!(clean(&name, &Limits::default()), Err(want));
    }
}

#[test]
fn names_that_stay() {
    let entries: [(&str, &[u8]); 4] = [
        ("./", b""),
        ("./a.yaml", b"a"),
        ("b/./c..d/e.yaml", b"b"),
        ("ignored.txt", b"c"),
    ];
    for method in [CompressionMethod::Deflated, CompressionMethod::Stored] {
        let got = load(&raw(&entries, method), &Limits::default());
        assert_eq!(
            got,
            Ok(vec!["a.yaml".to_owned(), "b/c..d/e.yaml".to_owned()]),
            "{method:?}"
        );
    }
}

/// `apictl` streams: sizes and checksums follow the data, and the local headers have zeros.
#[test]
fn streamed_archives() {
    let mut writer = ZipWriter::new_stream(Vec::new());
    writer
        .add_directory("proj/", SimpleFileOptions::default())
        .unwrap();
    writer
        .start_file("proj/api.yaml", SimpleFileOptions::default())
        .unwrap();
    writer.write_all(b"content").unwrap();
    let packed = writer.finish().unwrap().into_inner();
    assert_eq!(
        load(&packed, &Limits::default()),
        Ok(vec!["proj/api.yaml".to_owned()])
    );
}

/// Some writers always use the 64-bit form, however small the file.
#[test]
fn archives_in_64_bit_form() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer
        .start_file("proj/api.yaml", SimpleFileOptions::default().large_file(true))
        .unwrap();
    writer.write_all(b"content").unwrap();
    let packed = writer.finish().unwrap().into_inner();
    assert_eq!(
        load(&packed, &Limits::default()),
        Ok(vec!["proj/api.yaml".to_owned()])
    );
}

#[test]
fn bounds() {
    let kilobytes = |count: usize| vec![b'x'; count << 10];
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let two: [(&str, &[u8]); 2] = [("a.yaml", b"12345"), ("b.yaml", b"12345")];
    let defaults = Limits::default;
    let cases: [(&str, Vec<u8>, Limits, &str); 8] = [
        (
            "archive size",
            raw(&two, CompressionMethod::Stored),
            Limits {
                archive_bytes: 100,
                ..defaults()
            },
            "error: archive of ",
        ),
        (
            "entry count",
            raw(&two, CompressionMethod::Stored),
            Limits {
                entries: 1,
                ..defaults()
            },
            "error: archive has more than 1 entries",
        ),
        (
            "entry size",
            raw(&two, CompressionMethod::Stored),
            Limits {
                entry_bytes: 4,
                ..defaults()
            },
            "error: a.yaml: entry of 5 bytes is greater than the 4 allowed",
        ),
        (
            "total size",
            raw(&two, CompressionMethod::Stored),
            Limits {
                total_bytes: 9,
                ..defaults()
            },
            "error: archive unpacks to 10 bytes, more than the 9 allowed",
        ),
        (
            "bomb in a file that is read",
            raw(&[("a.yaml", &kilobytes(4_096))], CompressionMethod::Deflated),
            defaults(),
            "error: a.yaml: entry expands more than 200 times",
        ),
        (
            "bomb in a file that is not",
            raw(&[("a.bin", &kilobytes(4_096))], CompressionMethod::Deflated),
            defaults(),
            "error: a.bin: entry expands more than 200 times",
        ),
        (
            "many files of legal expansion",
            raw(
                &[("a.yaml", &noise), ("b.yaml", &noise)],
                CompressionMethod::Deflated,
            ),
            Limits {
                total_bytes: 1_000_000,
                ..defaults()
            },
            "error: archive unpacks to 1600000 bytes",
        ),
        (
            "no archive",
            b"hello".to_vec(),
            defaults(),
            "error: not a readable zip archive: ",
        ),
    ];
    for (name, packed, limits, want) in cases {
        let got = load(&packed, &limits).expect_err(name);
        assert!(got[0].starts_with(want), "{name}: {got:?}");
    }
    let fine = raw(
        &[("a.yaml", &kilobytes(1_000)), ("b.yaml", &noise)],
        CompressionMethod::Deflated,
    );
    assert_eq!(load(&fine, &Limits::default()).map(|names| names.len()), Ok(2));
}

#[test]
fn a_directory_that_lies_about_sizes_gains_nothing() {
    let mut packed = raw(&[("a.yaml", &vec![b'x'; 4 << 20])], CompressionMethod::Deflated);
    // The size fields of the central directory and the local header, both made to say 5.
    let central = memchr::memmem::find(&packed, b"PK\x01\x02").unwrap();
    packed[central + 24..central + 28].copy_from_slice(&5_u32.to_le_bytes());
    packed[22..26].copy_from_slice(&5_u32.to_le_bytes());
    let got = load(&packed, &Limits::default()).unwrap_err();
    assert!(
        got[0].contains("entry expands more than 200 times") || got[0].contains("cannot be unpacked"),
        "{got:?}"
    );
}

#[test]
fn damage_is_noticed() {
    let whole = raw(
        &[("a.yaml", b"some text that is stored")],
        CompressionMethod::Stored,
    );
    let mut flipped = whole.clone();
    flipped[45] ^= 1;
    assert!(
        load(&flipped, &Limits::default()).unwrap_err()[0]
            .starts_with("error: a.yaml: entry cannot be unpacked: ")
    );
    for length in 0..whole.len() {
        assert!(
            load(&whole[..length], &Limits::default()).is_err(),
            "cut at {length}"
        );
    }
}

#[test]
fn links_are_refused_by_name() {
    const MESSAGE: &str = "entry is a symbolic link, which is not followed: put the file in its place";
    let linked = |path: &str, content: &str| {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        writer.start_file("p/a.yaml", options).unwrap();
        writer.write_all(b"a: 1\n").unwrap();
        writer.add_symlink(path, content, options).unwrap();
        writer.finish().unwrap().into_inner()
    };
    for (path, target) in [
        ("p/api.yaml", "/etc/passwd"),
        ("p/Docs/more", "../../../secret"),
        ("p/folder/", "/"),
        ("p/long", &"a".repeat(4_095)),
    ] {
        let name = path.trim_end_matches('/');
        assert_eq!(
            load(&linked(path, target), &Limits::default()),
            Err(vec![format!("error: {name}: {MESSAGE}")]),
            "{path}"
        );
    }
    // As apictl packs one.
    for content in ["a: 1\n", "{\"a\": 1}", "", &"a".repeat(4_096)] {
        let packed = linked("p/api.yaml", content);
        let files = Archive(&packed).load(&Limits::default(), &|_| true).unwrap();
        assert_eq!(files["p/api.yaml"], content.as_bytes());
    }
}

#[test]
fn what_is_neither_file_nor_folder_is_refused_by_name() {
    let entry = b"p/a.yaml";
    let whole = raw(&[("p/a.yaml", b"a: 1")], CompressionMethod::Stored);
    let record = memchr::memmem::find(&whole, b"PK\x01\x02").unwrap();
    assert_eq!(&whole[record + 46..record + 46 + entry.len()], entry);
    for (kind, fine) in [
        (0o000, true),
        (0o001, false),
        (0o002, false),
        (0o006, false),
        (0o010, true),
        (0o014, false),
    ] {
        let mut packed = whole.clone();
        // Made by Unix, and the mode in the upper half of the attributes.
        packed[record + 5] = 3;
        packed[record + 38..record + 42].copy_from_slice(&((kind << 12 | 0o644_u32) << 16).to_le_bytes());
        let want = "error: p/a.yaml: entry is neither a file nor a folder".to_owned();
        let got = load(&packed, &Limits::default());
        assert_eq!(got.err(), (!fine).then_some(vec![want]), "{kind:o}");
    }
}

#[test]
fn every_bad_entry_is_named() {
    let whole = raw(
        &[
            ("a.yaml", b"text one"),
            ("b.yaml", b"fine"),
            ("c.yaml", b"text two"),
        ],
        CompressionMethod::Stored,
    );
    let mut flipped = whole;
    for text in [b"text one", b"text two"] {
        let at = memchr::memmem::find(&flipped, text).unwrap();
        flipped[at] ^= 1;
    }
    let got = load(&flipped, &Limits::default()).unwrap_err();
    assert_eq!(got.len(), 2, "{got:?}");
    assert!(got[0].starts_with("error: a.yaml: entry cannot be unpacked: "));
    assert!(got[1].starts_with("error: c.yaml: entry cannot be unpacked: "));
}

/// Which of two entries counts differs from reader to reader, so neither does.
#[test]
fn a_name_given_twice() {
    let mut packed = raw(
        &[("p/a.yaml", b"one"), ("p/b.yaml", b"two")],
        CompressionMethod::Stored,
    );
    while let Some(at) = memchr::memmem::find(&packed, b"p/b.yaml") {
        packed[at + 2] = b'a';
    }
    let want = ["error: p/a.yaml: two entries of the archive have this name".to_owned()];
    assert_eq!(load(&packed, &Limits::default()).unwrap_err(), want);
    let same = raw(
        &[("p/a.yaml", b"one"), ("p/./a.yaml", b"two")],
        CompressionMethod::Stored,
    );
    assert_eq!(load(&same, &Limits::default()).unwrap_err(), want);
}

#[test]
fn what_cannot_be_unpacked() {
    let mut encrypted = raw(&[("a.yaml", b"text")], CompressionMethod::Stored);
    let central = memchr::memmem::find(&encrypted, b"PK\x01\x02").unwrap();
    encrypted[6] |= 1;
    encrypted[central + 8] |= 1;
    assert_eq!(
        load(&encrypted, &Limits::default()).unwrap_err(),
        ["error: a.yaml: entry is encrypted"]
    );
    let mut method = raw(
        &[("a.yaml", b"text"), ("b.txt", b"text")],
        CompressionMethod::Stored,
    );
    let central = memchr::memmem::find(&method, b"PK\x01\x02").unwrap();
    method[8] = 12;
    method[central + 10] = 12;
    let got = load(&method, &Limits::default()).unwrap_err();
    assert!(
        got[0].starts_with("error: a.yaml: entry cannot be unpacked: "),
        "{got:?}"
    );
}

/// What the Finder packs beside a project with certificates and policies.
#[test]
fn macos_archives() {
    let (api, swagger) = (api_yaml(ENDPOINT), openapi(PATHS));
    let entries: [(&str, &[u8]); 5] = [
        ("p/api.yaml", api.as_bytes()),
        ("p/Definitions/swagger.yaml", swagger.as_bytes()),
        ("__MACOSX/p/._api.yaml", b"\0\x05\x16\x07\xff"),
        ("__MACOSX/p/Endpoint-certificates/._a.crt", b"\0\x05\x16\x07\xff"),
        ("p/Policies/._add_v1.yaml", b"\0\x05\x16\x07\xff"),
    ];
    let packed = raw(&entries, CompressionMethod::Deflated);
    let reading = read(&Archive(&packed), &Settings::new(Defaults::Require)).unwrap();
    assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
}

#[test]
fn archives_are_reproducible_and_readable() {
    let files = [
        ("api.yaml", "a"),
        ("Definitions/swagger.yaml", "b"),
        ("Docs/", ""),
    ];
    let packed = archive("proj", files).unwrap();
    assert_eq!(packed, archive("proj", files).unwrap());
    let got = Archive(&packed).load(&Limits::default(), &|_| true).unwrap();
    assert_eq!(
        got,
        Files::from([
            ("proj/Definitions/swagger.yaml".into(), b"b".to_vec()),
            ("proj/api.yaml".into(), b"a".to_vec())
        ])
    );
    let bare = archive("", files).unwrap();
    assert_eq!(
        load(&bare, &Limits::default()),
        Ok(vec!["Definitions/swagger.yaml".into(), "api.yaml".into()])
    );
}

#[cfg(unix)]
#[test]
fn folders() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("p"), folder.path().join("secret.yaml"));
    std::fs::write(&outside, "s").unwrap();
    std::fs::create_dir_all(root.join("..data")).unwrap();
    std::fs::create_dir_all(root.join("Definitions")).unwrap();
    std::fs::write(root.join("..data/api.yaml"), "a").unwrap();
    std::fs::write(root.join("Definitions/swagger.yaml"), "b").unwrap();
    symlink("..data/api.yaml", root.join("api.yaml")).unwrap();
    let load = |limits: Limits| {
        let loaded = Folder(root.clone()).load(&limits, &|path| path.ends_with(".yaml"));
        loaded
            .map(|files| files.into_keys().collect::<Vec<_>>())
            .map_err(|findings| lines(&findings))
    };
    assert_eq!(
        load(Limits::default()),
        Ok(vec!["Definitions/swagger.yaml".into(), "api.yaml".into()])
    );
    assert!(
        load(Limits {
            entries: 2,
            ..Limits::default()
        })
        .unwrap_err()[0]
            .contains("more than 2 files")
    );
    assert!(
        load(Limits {
            entry_bytes: 0,
            ..Limits::default()
        })
        .unwrap_err()[0]
            .contains("0 bytes allowed")
    );
    symlink(&outside, root.join("z.yaml")).unwrap();
    assert_eq!(
        load(Limits::default()),
        Err(vec!["error: z.yaml: link leads out of the project".to_owned()])
    );
    symlink("nowhere", root.join("y.yaml")).unwrap();
    let both = load(Limits::default()).unwrap_err();
    assert_eq!(both.len(), 2, "all are reported: {both:?}");
    assert!(both[0].starts_with("error: y.yaml: file cannot be read: "));
    std::fs::remove_file(root.join("y.yaml")).unwrap();
    std::fs::remove_file(root.join("z.yaml")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    assert_eq!(
        load(Limits::default()),
        Err(vec![
            "error: loop: link leads back to a folder it lies in".to_owned()
        ])
    );
    let missing = Folder(folder.path().join("none"))
        .load(&Limits::default(), &|_| true)
        .unwrap_err();
    assert!(missing[0].message.contains("cannot be read"), "{missing:?}");
}

proptest! {
    #[test]
    fn clean_paths_stay_inside(name in "[a-c./\\\\:\\x00-\\x20]{0,24}") {
        if let Ok(path) = clean(&name, &Limits::default()) {
            prop_assert!(!path.starts_with('/') && !path.contains('\\'));
            prop_assert!(path.split('/').all(|step| step != ".." && step != "."));
            prop_assert_eq!(clean(&path, &Limits::default()), Ok(path.clone()));
        }
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200), mark in any::<bool>()) {
        let mut packed = if mark { b"PK\x03\x04".to_vec() } else { Vec::new() };
        packed.extend(&bytes);
        prop_assert!(read(&Archive(&packed), &Settings::new(Defaults::Derive)).is_err());
        let definition = Definition { name: "x", content: &bytes };
        prop_assert!(read(&definition, &Settings::new(Defaults::Derive)).is_err());
    }
}
