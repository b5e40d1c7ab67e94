use super::*;

/// Status, and what was called, one line a call.
fn run(variables: &[(&str, &str)], words: &[&str]) -> (u8, Vec<String>) {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let mut calls = Vec::new();
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let status = Shell::new(variables, |call: Call<'_>| {
        calls.push(match call {
            Call::Probe(arguments) => arguments.join("|"),
            Call::Pause(lengths) => format!("sleep {}", lengths.join("|")),
            Call::Own(arguments) => format!("{arguments:?}"),
        });
        u8::try_from(calls.len()).unwrap() - 1
    })
    .run(&words);
    (status, calls)
}

/// As those of the original and of its chart are written.
#[test]
fn health_scripts_are_run() {
    let script = "#!/bin/bash\n# ----\n# \"Quotes\" & more; are comments.\n\nPORT=\"${PORT:-18000}\"\nNAME=\"${NAME:-adapter}\"\n\
                  grpc_health_probe -addr \"127.0.0.1:${PORT}\" \\\n    -tls \\\n    -tls-ca-cert \"${CERT}\" \\\n    \
                  -tls-server-name ${NAME} \\\n    -connect-timeout=3s";
    let cases: [(&[(&str, &str)], &str); 3] = [
        (
            &[("CERT", "/a b/mg.pem")],
            "-addr|127.0.0.1:18000|-tls|-tls-ca-cert|/a b/mg.pem|-tls-server-name|adapter|-connect-timeout=3s",
        ),
        (
            &[("PORT", "1"), ("NAME", "")],
            "-addr|127.0.0.1:1|-tls|-tls-ca-cert||-tls-server-name|adapter|-connect-timeout=3s",
        ),
        (
            &[("NAME", "a  b")],
            "-addr|127.0.0.1:18000|-tls|-tls-ca-cert||-tls-server-name|a|b|-connect-timeout=3s",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("check_health.sh");
    let path = file.to_str().unwrap();
    for (variables, want) in cases {
        for text in [script.to_owned(), script.replace('\n', "\r\n")] {
            std::fs::write(&file, text).unwrap();
            for words in [&["-e", path][..], &["-c", &format!("sh {path}")], &["-c", path]] {
                assert_eq!(run(variables, words), (0, vec![want.to_owned()]), "{words:?}");
            }
        }
    }
}

/// Ours are taken as they are shipped.
#[test]
fn the_images_own_scripts_are_run() {
    for (process, port, text) in [
        (
            "ADAPTER",
            "18000",
            include_str!("../../../../../docker-compose/images/adapter-check_health.sh"),
        ),
        (
            "ENFORCER",
            "8081",
            include_str!("../../../../../docker-compose/images/enforcer-check_health.sh"),
        ),
    ] {
        let (key, certificate) = (
            format!("{process}_PRIVATE_KEY_PATH"),
            format!("{process}_PUBLIC_CERT_PATH"),
        );
        let variables = [(&*key, "k"), (&*certificate, "c")];
        let (status, calls) = run(&variables, &["-c", text]);
        assert_eq!(status, 0);
        let [call] = &calls[..] else { panic!("{calls:?}") };
        let words: Vec<String> = call.split('|').map(str::to_owned).collect();
        let flags = crate::probe::flags::Flags::parse(&words).unwrap();
        assert_eq!(flags.addr, format!("127.0.0.1:{port}"));
        let tls = flags.tls.unwrap();
        assert_eq!(
            (&*tls.ca, &*tls.certificate, &*tls.key, tls.server_name),
            ("c", "c", "k", process.to_lowercase())
        );
    }
}

#[test]
fn commands_follow_one_another() {
    let cases: [(&str, u8, &[&str]); 11] = [
        (
            "grpc_health_probe -a; /bin/grpc_health_probe 'b c'",
            1,
            &["-a", "b c"],
        ),
        (
            "set -e\ngrpc_health_probe 1\nfalse\ngrpc_health_probe 2",
            1,
            &["1"],
        ),
        ("set -euo pipefail; true; exec grpc_health_probe \"\"", 0, &[""]),
        ("grpc_health_probe; grpc_health_probe; exit", 1, &["", ""]),
        ("exit 7; grpc_health_probe", 7, &[]),
        (
            "A=1 B=$A; export C=\"$B\"2; grpc_health_probe $A$B$C ${D-x}",
            0,
            &["1112|x"],
        ),
        (
            "grpc_health_probe a\\\nb \"c\\\nd\" \\\n e\\ f '\\'",
            0,
            &["ab|cd|e f|\\"],
        ),
        (
            "/home/wso2/trireme health",
            0,
            &["[\"/home/wso2/trireme\", \"health\"]"],
        ),
        ("grpc_health_probe a#b # c", 0, &["a#b"]),
        ("sleep 5", 0, &["sleep 5"]),
        ("", 0, &[]),
    ];
    for (text, status, want) in cases {
        assert_eq!(
            run(&[], &["-c", text]),
            (status, want.iter().map(|call| (*call).to_owned()).collect()),
            "{text}"
        );
    }
}

#[test]
fn what_needs_a_shell_is_refused_before_anything_is_done() {
    let refused = |text: &str| {
        let outcome = commands(text).map(|_| ());
        outcome.unwrap_err()
    };
    let cases = [
        ("true\ngrpc_health_probe a | cat", 2, "`|`"),
        ("grpc_health_probe a && true", 1, "`&`"),
        ("grpc_health_probe > /dev/null", 1, "`>`"),
        ("A=$(date)", 1, "`$` with no name behind it"),
        ("A=`date`", 1, "```"),
        ("echo *", 1, "`*`"),
        ("\n\n\"", 3, "a quote without an end"),
        ("'", 1, "a quote without an end"),
        ("a \\", 1, "`\\` at the end"),
        ("${A", 1, "${A…}"),
        ("${A:?no}", 1, "${A…}"),
        ("${A%b}", 1, "${A…}"),
    ];
    for (text, line, what) in cases {
        let want = Refused {
            line,
            what: what.to_owned(),
        };
        assert_eq!(refused(text), want, "{text}");
        let (status, calls) = run(&[], &["-c", text]);
        assert_eq!((status, calls.len()), (NOT_FOUND, 0), "{text}");
    }
    for words in [
        &["-c", "curl http://localhost"][..],
        &["-c", "if true"],
        &["-c"],
        &["-i"],
        &[],
        &["/none/such.sh"],
        &["/dev/zero"],
    ] {
        assert_eq!(run(&[], words), (NOT_FOUND, vec![]), "{words:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loop.sh");
    std::fs::write(&file, format!("sh {}", file.display())).unwrap();
    assert_eq!(run(&[], &[file.to_str().unwrap()]), (NOT_FOUND, vec![]));
}

/// Opening a pipe waits for somebody who writes.
#[test]
fn a_script_is_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("check_health.sh");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    for path in [pipe.as_path(), folder.path()] {
        let (status, calls) = run(&[], &[path.to_str().unwrap()]);
        assert_ne!(status, 0, "{path:?}");
        assert_eq!(calls, [""; 0]);
    }
}
