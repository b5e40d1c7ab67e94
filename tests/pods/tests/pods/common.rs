//! What the tests share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use trireme_harness::eventually;
use trireme_pods::manifest::Objects;
use trireme_pods::{Apictl, Curl, Pod, petstore};

/// A pod that is not ready by then never is: its probes have had their periods, on a machine that does other things too.
pub(crate) const BOUND: Duration = Duration::from_secs(90);

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// Prints what a green run does not show.
pub(crate) fn tell(objects: &Objects) {
    for note in &objects.not_shown {
        println!("NOT SHOWN: {note}");
    }
}

/// Passwords of `admin`: for the adapter, and for test tokens.
#[derive(Debug)]
pub(crate) struct Passwords {
    pub(crate) adapter: String,
    pub(crate) enforcer: String,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            adapter: "admin".to_owned(),
            enforcer: "admin".to_owned(),
        }
    }
}

/// The quick start of spec/deployment.md 16.3 from `apictl mg add env` on, and 16.1's end of it; the two hosts lead to two pods
/// as the ingress leads to them.
pub(crate) async fn quick_start(adapter: &Pod, runtime: &Pod, passwords: &Passwords) -> anyhow::Result<()> {
    let Some(curl) = Curl::find() else { return Ok(()) };
    let curl = curl
        .host("adapter.wso2.com", adapter.address(9843))
        .host("gw.wso2.com", runtime.address(9095));
    let apictl = Apictl::add_env(&curl, "https://adapter.wso2.com");
    let login = apictl.login("admin", &passwords.adapter).await?;
    let deployed = apictl
        .deploy(&login, &petstore(&data("petstore"))?, false)
        .await?;
    ensure!(deployed.status == 200, "deploy: {deployed:?}");

    let words = [
        "-X",
        "POST",
        "https://gw.wso2.com/testkey",
        "-d",
        "scope=read:pets",
    ];
    // `Basic YWRtaW46YWRtaW4=` where the password is that of the documentation.
    let basic = STANDARD.encode(format!("admin:{}", passwords.enforcer));
    let basic = format!("Authorization: Basic {basic}");
    let basic = ["-H", &basic, "-k"];
    let token = curl.run(&[&words[..], &basic].concat()).await?;
    ensure!(token.status == 200, "testkey: {token:?}");

    let url = "https://gw.wso2.com/v2/pet/findByStatus?status=available";
    let bearer = format!("Authorization: Bearer {}", token.body);
    let words = [url, "-H", "accept: application/json", "-H", &bearer, "-k"];
    let mut last = None;
    let pets = eventually("the API", async || {
        last = curl.run(&words).await.ok();
        last.clone().filter(|answer| answer.status == 200)
    })
    .await;
    ensure!(pets.body.starts_with("[{\"id\":1"), "pets: {pets:?}");
    let without = curl.run(&[url, "-k"]).await?;
    ensure!(
        without.status == 401 && without.body.contains("\"900901\""),
        "without: {without:?}"
    );
    let unknown = curl
        .run(&["https://gw.wso2.com/v2/nothing/of/that", "-H", &bearer, "-k"])
        .await?;
    ensure!(unknown.status == 404, "unknown: {unknown:?}");

    let listed = apictl.apis(&login).await?;
    ensure!(
        listed.status == 200 && listed.body.contains("\"SwaggerPetstore\""),
        "list: {listed:?}"
    );
    let removed = apictl.undeploy(&login, "SwaggerPetstore", "1.0.6").await?;
    ensure!(removed.status == 200, "undeploy: {removed:?}");
    Ok(())
}

/// The profile of cargo that the images are built with: `dev`, or what `cargo xtask pods --profile` says.
pub(crate) fn profile() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the tests, no product setting"
    )]
    let profile = std::env::var("TRIREME_PODS_PROFILE");
    profile.unwrap_or_else(|_| "dev".to_owned())
}
