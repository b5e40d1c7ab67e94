//! The gateway's client certificate towards upstreams.

use trireme_routing::snapshot::{Pem, TlsVersion, Trust, UpstreamTls};
use trireme_tls::ClientAuth;
use trireme_tls::authority::Authority;

use crate::support::{Pki, Setup, Upstream, eventually, full, get};

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_client_certificate_is_used_at_once() {
    let upstream = Upstream::secure(
        Pki::get()
            .material("enforcer")
            .acceptor(ClientAuth::Required, &[b"http/1.1"]),
        |_| http::Response::new(full("in")),
    )
    .await;
    let dir = tempfile::tempdir().unwrap();
    let (key, certificate) = (dir.path().join("mg.key"), dir.path().join("mg.pem"));
    let foreign = tempfile::tempdir().unwrap();
    let foreign = Authority::open_or_create(foreign.path()).unwrap();
    let ca = Pki::get().ca();
    let anchors = [
        ("file", Pem::File(ca.display().to_string())),
        ("text", Pem::Inline(std::fs::read_to_string(&ca).unwrap())),
    ];
    foreign.ensure("mg", &key, &certificate).unwrap();
    let mut setup = Setup::to(upstream.address).answering(|seen| {
        let name = seen.path.rsplit('/').next().unwrap_or_default();
        Some(Ok(crate::support::allow_with(
            &[("x-wso2-cluster-header", name)],
            &[],
        )))
    });
    setup.clusters = anchors
        .into_iter()
        .map(|(name, anchors)| {
            let mut cluster = crate::support::cluster(name, "127.0.0.1", upstream.address.port());
            cluster.endpoints[0].tls = Some(UpstreamTls {
                sni: Some("enforcer".to_owned()),
                trust: Trust::Anchors(anchors),
                verify_host: Some("enforcer".to_owned()),
                client_certificate: Some((
                    Pem::File(certificate.display().to_string()),
                    Pem::File(key.display().to_string()),
                )),
                min_version: TlsVersion::V1_2,
                max_version: TlsVersion::V1_3,
                ciphers: Vec::new(),
            });
            cluster
        })
        .collect();
    let gateway = setup.start().await;
    for name in ["file", "text"] {
        let path = format!("/api/{name}");
        assert_eq!(
            get(gateway.http(), &path).await.status,
            503,
            "{name}: not trusted"
        );
    }
    std::fs::copy(Pki::get().key("router"), &key).unwrap();
    std::fs::copy(Pki::get().certificate("router"), &certificate).unwrap();
    for name in ["file", "text"] {
        let path = format!("/api/{name}");
        eventually("the renewed certificate is shown", async || {
            get(gateway.http(), &path).await.status == 200
        })
        .await;
    }
}
