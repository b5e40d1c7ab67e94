//! Projects to routes and policies, compared with what is written beside them.
//!
//! Each folder of `tests/golden` is a case: `in/` is a project, `config.toml` (when there is one) what the configuration says
//! besides the defaults; `routes.yaml`, `policy.yaml` and `diagnostics.txt` are what must come of it. With `UPDATE_GOLDEN=1`
//! (`cargo xtask golden`) they are written anew and those that nothing comes of are removed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod render;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use trireme_adapter::settings;
use trireme_config::Env;
use trireme_project::{Defaults, Folder};
use trireme_routing::snapshot::Revision;
use trireme_translate::{Settings, Surroundings};

/// The three files of a case; an empty text means that there is none.
type Outcome = [(&'static str, String); 3];

#[test]
fn projects_become_what_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    #[allow(
        clippy::disallowed_methods,
        reason = "the test run says whether files are to be written"
    )]
    let update = std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1");
    let mut differences = Vec::new();
    for case in &cases {
        for (name, got) in outcome(case) {
            let path = case.join(name);
            if update {
                if got.is_empty() {
                    std::fs::remove_file(&path).unwrap_or_default();
                } else {
                    std::fs::write(&path, &got).unwrap();
                }
            }
            let want = std::fs::read_to_string(&path).unwrap_or_default();
            if got != want {
                differences.push(format!("{}: want\n{want}\ngot\n{got}", path.display()));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

fn outcome(case: &Path) -> Outcome {
    let (settings, vhosts) = settings(case);
    let surroundings = Surroundings {
        reading: trireme_project::Settings::new(Defaults::Require),
        organization: "carbon.super",
        vhost: &|environment| vhosts.get(environment).cloned(),
        settings: &settings,
    };
    let (mut routes, mut policies) = (Vec::new(), Vec::new());
    let found = match surroundings.prepare(&Folder(case.join("in"))) {
        Err(refused) => refused.all(),
        Ok(prepared) => {
            for (_, draft) in prepared.drafts {
                let api = draft.at(Revision { epoch: 7, counter: 3 });
                routes.push(render::routes(&api, &settings));
                policies.push(render::policy(&api.policy));
            }
            prepared.warnings
        }
    };
    let found: String = found.iter().map(|one| format!("{one}\n")).collect();
    [
        ("routes.yaml", yaml(&routes)),
        ("policy.yaml", yaml(&policies)),
        ("diagnostics.txt", found),
    ]
}

/// Default settings, with what the case's `config.toml` says.
fn settings(case: &Path) -> (Settings, BTreeMap<String, String>) {
    let file = case.join("config.toml");
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let env: Env = [
        ("adapter_admin_pwd", "a"),
        ("enforcer_admin_pwd", "b"),
        ("cp_admin_pwd", "c"),
        ("tm_admin_pwd", "d"),
    ]
    .into_iter()
    .collect();
    let mut config = trireme_config::load_text(&text, &file, &env)
        .unwrap_or_else(|errors| panic!("{}: {errors:?}", file.display()))
        .config;
    config.router.keystore.key_path = "mg.key".into();
    config.router.keystore.cert_path = "mg.pem".into();
    let vhosts = config
        .adapter
        .vhost_mapping
        .iter()
        .map(|mapping| (mapping.environment.clone(), mapping.vhost.clone()))
        .collect();
    (settings::translation(&config), vhosts)
}

fn yaml(values: &[Value]) -> String {
    if values.is_empty() {
        return String::new();
    }
    let text = serde_saphyr::to_string(&values).unwrap();
    let back: Vec<Value> = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(back, values, "what is written is what is meant");
    text
}
