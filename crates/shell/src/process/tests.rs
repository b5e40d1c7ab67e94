use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};

use super::*;

/// A process that reads nothing and ends at once.
struct Plain(SocketAddr);

impl Process for Plain {
    const NAME: &'static str = "trireme-plain";
    const ABOUT: &'static str = "A process for tests.";
    const CHECK: &'static str = "Check nothing";
    type Failure = Infallible;

    fn read(strict: bool) -> Result<Self, Vec<String>> {
        assert!(!strict);
        // A port on which nobody listens.
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| vec![error.to_string()])?;
        listener
            .local_addr()
            .map(Self)
            .map_err(|error| vec![error.to_string()])
    }

    fn admin(&self) -> SocketAddr {
        self.0
    }

    fn settings(&self) -> Settings {
        Settings {
            log: LogSettings::default(),
            exit_on_stdin_eof: false,
            threads: Threads {
                workers: 1,
                blocking: 1,
            },
        }
    }

    async fn serve(self, _: &LogHandle, stop: CancellationToken) -> Result<(), Infallible> {
        assert!(!stop.is_cancelled());
        Ok(())
    }
}

/// A process that can be wrong in each way.
struct Wrong {
    strict: bool,
}

#[derive(Debug)]
struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("port taken")
    }
}

impl Error for Failed {}

impl Process for Wrong {
    const NAME: &'static str = "trireme-wrong";
    const ABOUT: &'static str = "A process for tests.";
    const CHECK: &'static str = "Check";
    const STRICT: Option<&'static str> = Some("Take warnings for errors");
    type Failure = Failed;

    fn read(strict: bool) -> Result<Self, Vec<String>> {
        if strict {
            return Err(vec!["a warning".to_owned()]);
        }
        Ok(Self { strict })
    }

    fn warnings(&self) -> Vec<String> {
        assert!(!self.strict);
        vec!["a warning".to_owned()]
    }

    fn admin(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
    }

    fn settings(&self) -> Settings {
        Settings {
            log: LogSettings::default(),
            exit_on_stdin_eof: false,
            threads: Threads::default(),
        }
    }

    async fn serve(self, _: &LogHandle, _: CancellationToken) -> Result<(), Failed> {
        Err(Failed)
    }
}

fn exit<P: Process>(arguments: &[&str]) -> ExitCode {
    run::<P>(
        std::iter::once("name")
            .chain(arguments.iter().copied())
            .map(OsString::from),
    )
}

#[test]
fn exit_statuses_tell() {
    let (fine, failure, usage) = (ExitCode::SUCCESS, ExitCode::FAILURE, ExitCode::from(USAGE));
    let cases: [(&[&str], ExitCode, ExitCode); 9] = [
        (&[], fine, failure),
        (&["--check"], fine, fine),
        (&["health"], failure, failure),
        (&["--check", "health"], usage, usage),
        (&["--strict", "--check"], usage, usage),
        (&["--strict"], usage, usage),
        (&["--help"], fine, fine),
        (&["--version"], fine, fine),
        (&["helth"], usage, usage),
    ];
    for (arguments, plain, wrong) in cases {
        assert_eq!(exit::<Plain>(arguments), plain, "{arguments:?}");
        assert_eq!(exit::<Wrong>(arguments), wrong, "{arguments:?}");
    }
}

/// What an image calls it by.
#[test]
fn by_the_names_of_probes_it_is_those() {
    let cases: [(&[&str], u8); 8] = [
        (&["sh"], 127),
        (&["/bin/sh", "-c", "ls"], 127),
        (&["sh", "check_health.sh"], 127),
        (&["/home/wso2/check_health.sh"], 127),
        (&["sh", "-c", "exit 3"], 3),
        (&["bash", "-c", "trireme --version; trireme health"], 1),
        (&["/bin/grpc_health_probe"], 1),
        (&["grpc_health_probe", "-version"], 0),
    ];
    for (words, status) in cases {
        let code = run::<Plain>(words.iter().map(OsString::from));
        assert_eq!(code, ExitCode::from(status), "{words:?}");
    }
    // Nobody listens where it is asked: the status is that of the program.
    let words = ["grpc_health_probe", "-addr=127.0.0.1:1", "-connect-timeout=5s"];
    let code = run::<Plain>(words.iter().map(OsString::from));
    assert_eq!(code, ExitCode::from(2));
}

#[test]
fn help_says_what_the_process_says_of_itself() {
    let help = crate::arguments::command(texts::<Wrong>())
        .render_long_help()
        .to_string();
    let want = "\
A process for tests.

Usage: trireme-wrong [OPTIONS] [ACTION]

Arguments:
  [ACTION]
          Something else than to run

          Possible values:
          - health: Ask the running wrong of this environment whether it is ready; the exit status tells

Options:
      --check
          Check

      --strict
          Take warnings for errors

  -h, --help
          Print help (see a summary with '-h')

  -V, --version
          Print version
";
    assert_eq!(help, want);
}
