use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use trireme_tls::authority::{Issued, Validity};
use trireme_tls::{ClientAuth, Facts, Material, Settings};

use crate::mutual::{Pair, handshake};
use crate::pki::{Folder, material, pki, self_signed};

async fn changed(generations: &mut watch::Receiver<u64>) {
    let change = tokio::time::timeout(Duration::from_secs(10), generations.changed());
    change
        .await
        .expect("the change is noticed")
        .expect("the material lives");
}

fn fresh(name: &str) -> Issued {
    self_signed(
        &[name],
        Validity::starting(SystemTime::now(), Duration::from_secs(3600)),
    )
}

fn server_names(pair: &Pair) -> Vec<String> {
    Facts::of(&pair.client.get_ref().1.peer_certificates().unwrap()[0])
        .unwrap()
        .names
}

#[tokio::test]
async fn new_files_serve_new_connections_and_spare_open_ones() {
    let (first, second) = (fresh("one"), fresh("two"));
    let folder = Folder::new(&first, &[]);
    let server = folder.material();
    let acceptor = server.acceptor(ClientAuth::None, &[]);
    let connector = material(None, &[&first.certificate, &second.certificate]).connector(&[]);
    let mut generations = server.subscribe();
    let watch = server.watch().unwrap();

    let mut open = handshake(&acceptor, &connector, "one").await.unwrap();
    second.write(&folder.key(), &folder.certificate()).unwrap();
    changed(&mut generations).await;
    open.exchange().await;
    let new = handshake(&acceptor, &connector, "two").await.unwrap();
    assert_eq!(server_names(&new), ["two"]);
    open.exchange().await;
    assert!(handshake(&acceptor, &connector, "one").await.is_err());
    drop(watch);
}

/// A mounted secret: `mg.pem -> ..data/mg.pem`, `..data -> ..1`; an update swaps `..data` and touches nothing else.
#[tokio::test]
async fn a_mounted_secret_is_followed() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (fresh("one"), fresh("two"));
    let revision = |number: &str, pair: &Issued| {
        let folder = root.path().join(format!("..{number}"));
        pair.write(&folder.join("mg.key"), &folder.join("mg.pem"))
            .unwrap();
        let next = root.path().join("..data_tmp");
        symlink(format!("..{number}"), &next).unwrap();
        fs::rename(&next, root.path().join("..data")).unwrap();
    };
    revision("1", &first);
    for name in ["mg.key", "mg.pem"] {
        symlink(Path::new("..data").join(name), root.path().join(name)).unwrap();
    }
    let server = Material::load(Settings {
        key: root.path().join("mg.key"),
        certificate: root.path().join("mg.pem"),
        // The mount as a trust folder, too: what lies behind the links counts once.
        trust: vec![root.path().to_owned()],
        trust_system: false,
    })
    .unwrap();
    assert_eq!(server.anchors(), 1);
    let mut generations = server.subscribe();
    let _watch = server.watch().unwrap();
    revision("2", &second);
    fs::remove_dir_all(root.path().join("..1")).unwrap();
    changed(&mut generations).await;
    assert_eq!(server.facts().unwrap().names, ["two"]);
    assert_eq!(server.anchors(), 1);
}

#[tokio::test]
async fn trust_grows_and_shrinks_with_its_folder() {
    let pki = pki();
    let folder = Folder::new(&pki.enforcer, &[&pki.ca]);
    let server = folder.material();
    let acceptor = server.acceptor(ClientAuth::Required, &[]);
    let connector = material(Some(&pki.foreign), &[&pki.ca]).connector(&[]);
    let mut generations = server.subscribe();
    let _watch = server.watch().unwrap();
    assert!(handshake(&acceptor, &connector, "enforcer").await.is_err());

    fs::create_dir(folder.trust().join("partners")).unwrap();
    let partner = folder.trust().join("partners/foreign.crt");
    fs::write(&partner, &pki.foreign_ca).unwrap();
    changed(&mut generations).await;
    handshake(&acceptor, &connector, "enforcer")
        .await
        .unwrap()
        .exchange()
        .await;

    fs::remove_file(&partner).unwrap();
    changed(&mut generations).await;
    assert!(handshake(&acceptor, &connector, "enforcer").await.is_err());
}

#[tokio::test]
async fn bad_files_leave_the_old_ones_in_force() {
    let (first, second) = (fresh("one"), fresh("two"));
    let folder = Folder::new(&first, &[]);
    let server = folder.material();
    let acceptor = server.acceptor(ClientAuth::None, &[]);
    let connector = material(None, &[&first.certificate, &second.certificate]).connector(&[]);

    // Half of a rotation: the certificate is there, its key is not yet.
    fs::write(folder.certificate(), &second.certificate).unwrap();
    let error = server.reload().unwrap_err().to_string();
    assert!(error.contains("mg.pem"), "{error}");
    handshake(&acceptor, &connector, "one")
        .await
        .unwrap()
        .exchange()
        .await;

    fs::write(folder.certificate(), "truncated").unwrap();
    assert!(server.reload().is_err());
    fs::remove_file(folder.key()).unwrap();
    assert!(server.reload().is_err());
    handshake(&acceptor, &connector, "one")
        .await
        .unwrap()
        .exchange()
        .await;

    second.write(&folder.key(), &folder.certificate()).unwrap();
    assert!(server.reload().unwrap());
    assert!(!server.reload().unwrap(), "nothing changed");
    handshake(&acceptor, &connector, "two")
        .await
        .unwrap()
        .exchange()
        .await;
}
