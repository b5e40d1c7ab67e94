//! Wrong material: what is wrong is told where a person looks for it, in the state of the pod, the output of its probes and the
//! termination message.

use std::time::{Duration, SystemTime};

use trireme_pods::manifest::Objects;
use trireme_pods::{Cluster, Engine, Images, Pod, Secrets, State, Trust};

use crate::common::{BOUND, profile};

const POD: &str = "choreo-connect-adapter";

/// Our manifests with good material.
fn manifests(authority: &Trust) -> anyhow::Result<Objects> {
    let mut objects = Objects::default();
    objects.folder(&trireme_pods::root()?.join("k8s-artifacts/choreo-connect"))?;
    Secrets::issued(authority, "gw.wso2.com")?.put(&mut objects);
    Ok(objects)
}

/// The adapter's pod of these manifests, changed.
async fn adapter(
    engine: &Engine,
    images: &Images,
    authority: &Trust,
    change: impl FnOnce(&mut Objects) -> anyhow::Result<()>,
) -> anyhow::Result<Pod> {
    let mut objects = manifests(authority)?;
    change(&mut objects)?;
    Cluster::new(engine, images, objects).await?.start(POD).await
}

fn keystore(objects: &mut Objects) -> &mut trireme_pods::manifest::Data {
    objects.secrets.entry("adapter-keystore".to_owned()).or_default()
}

/// It ends by itself with this status and leaves these words.
async fn ends(pod: &Pod, code: i32, words: &[&str]) -> anyhow::Result<()> {
    let status = pod.until(POD, BOUND, |status| status.last.is_some()).await?;
    let last = status.last.expect("waited for");
    println!("{code}: {}", last.message);
    assert_eq!(last.code, code, "{last:?}");
    for word in words {
        assert!(last.message.contains(word), "{word} in {last:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let images = Images::build(&engine, &profile()).await?;
    let trust = Trust::new()?;

    let missing = async {
        let change = |objects: &mut Objects| {
            keystore(objects).remove("mg.key");
            Ok(())
        };
        let pod = adapter(&engine, &images, &trust, change).await?;
        ends(&pod, 1, &["/home/wso2/security/keystore/mg.key"]).await
    };
    let foreign = async {
        let change = |objects: &mut Objects| {
            let other = trust.pair("adapter", &["localhost"])?;
            keystore(objects).insert("mg.key".to_owned(), other.key.into_bytes());
            Ok(())
        };
        let pod = adapter(&engine, &images, &trust, change).await?;
        let keystore = "/home/wso2/security/keystore";
        ends(
            &pod,
            1,
            &[&format!("{keystore}/mg.key"), &format!("{keystore}/mg.pem")],
        )
        .await
    };
    let broken = async {
        let change = |objects: &mut Objects| {
            let text = b"[adapter.server]\nenabled = true\nport = \"many\"\n".to_vec();
            objects
                .config_maps
                .entry("config-toml".to_owned())
                .or_default()
                .insert("config.toml".to_owned(), text);
            Ok(())
        };
        let pod = adapter(&engine, &images, &trust, change).await?;
        ends(&pod, 64, &["adapter.server.port", "many"]).await
    };
    let absent = async {
        let change = |objects: &mut Objects| {
            objects.secrets.remove("adapter-keystore");
            Ok(())
        };
        let pod = adapter(&engine, &images, &trust, change).await?;
        let waits = |state: &State| matches!(state, State::Waiting(why) if why.contains("secret \"adapter-keystore\" not found"));
        pod.until(POD, BOUND, |status| waits(&status.state)).await?;
        anyhow::Ok(())
    };
    // It runs, so that a renewed certificate is taken without a restart, and is not ready.
    let expired = async {
        let change = |objects: &mut Objects| {
            let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
            let old = trust.pair_until("adapter", &["localhost"], yesterday)?;
            let data = keystore(objects);
            data.insert("mg.key".to_owned(), old.key.into_bytes());
            data.insert("mg.pem".to_owned(), old.certificate.into_bytes());
            Ok(())
        };
        let pod = adapter(&engine, &images, &trust, change).await?;
        let failed = |status: &trireme_pods::Status| status.probes.last("readiness").is_some();
        let status = pod.until(POD, BOUND, failed).await?;
        let probed = status.probes.last("readiness").expect("waited for");
        println!("expired: {} {}", probed.output, pod.message(POD)?);
        assert!(!probed.success && !status.ready, "{status:?}");
        assert!(probed.output.contains("expired"), "{status:?}");
        assert!(pod.message(POD)?.contains("expired"), "{status:?}");
        anyhow::Ok(())
    };
    tokio::try_join!(missing, foreign, broken, absent, expired)?;
    Ok(())
}
