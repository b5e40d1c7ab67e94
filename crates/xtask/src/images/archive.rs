//! An image as one file: the image layout of the OCI, with the list that `docker load` reads beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use flate2::{Compression, GzBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::layer::Layer;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const SECOND: u64 = 1_000_000_000;

/// What an image is beside its layers.
#[derive(Debug)]
pub(super) struct Image<'a> {
    pub(super) name: &'a str,
    pub(super) arch: &'a str,
    pub(super) ports: &'a [u16],
    pub(super) labels: Labels<'a>,
}

/// What its labels say.
#[derive(Debug)]
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    pub(super) version: &'a str,
    /// The commit, where it is known.
    pub(super) revision: Option<String>,
}

/// A compressed layer.
struct Packed {
    /// Digest of what is compressed.
    diff: String,
    bytes: Vec<u8>,
}

impl Image<'_> {
    /// Writes the archive and gives its size; `quick` is larger.
    pub(super) fn write(&self, layers: &[&Layer], quick: bool, path: &Path) -> anyhow::Result<u64> {
        let bytes = self.archive(layers, quick)?;
        std::fs::write(path, &bytes).with_context(|| path.display().to_string())?;
        Ok(bytes.len() as u64)
    }

    fn archive(&self, layers: &[&Layer], quick: bool) -> anyhow::Result<Vec<u8>> {
        let layers = layers
            .iter()
            .map(|layer| pack(layer, quick))
            .collect::<Result<Vec<_>, _>>()?;
        let mut blobs = Blobs::default();
        let config = blobs.add(CONFIG, to_bytes(&self.config(&layers))?);
        let diffs: Vec<Value> = layers
            .into_iter()
            .map(|layer| blobs.add(LAYER, layer.bytes))
            .collect();
        let paths: Vec<String> = diffs.iter().map(path_of).collect();
        let list = json!([{
            "Config": path_of(&config),
            "RepoTags": self.tags(),
            "Layers": paths,
        }]);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": diffs,
        });
        let mut manifest = blobs.add(MANIFEST, to_bytes(&manifest)?);
        if let Value::Object(fields) = &mut manifest {
            fields.insert(
                "platform".to_owned(),
                json!({ "architecture": self.arch, "os": "linux" }),
            );
            let name = format!("docker.io/library/{}:{}", self.name, self.labels.version);
            fields.insert(
                "annotations".to_owned(),
                json!({
                    "io.containerd.image.name": name,
                    "org.opencontainers.image.ref.name": self.labels.version,
                }),
            );
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
        let mut files: BTreeMap<String, Vec<u8>> = blobs.0;
        files.insert("index.json".to_owned(), to_bytes(&index)?);
        files.insert("manifest.json".to_owned(), to_bytes(&list)?);
        let layout = json!({ "imageLayoutVersion": "1.0.0" });
        files.insert("oci-layout".to_owned(), to_bytes(&layout)?);
        let mut tar = Builder::new(Vec::new());
        for (path, bytes) in &files {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, path, bytes.as_slice())?;
        }
        Ok(tar.into_inner()?)
    }

    fn tags(&self) -> [String; 2] {
        ["latest", self.labels.version].map(|tag| format!("{}:{tag}", self.name))
    }

    /// What `docker-compose/images/Dockerfile` says as well.
    fn config(&self, layers: &[Packed]) -> Value {
        let keystore = "/home/wso2/security/keystore";
        let mut variables = vec![
            "PATH=/bin:/home/wso2".to_owned(),
            "MGW_HOME=/home/wso2".to_owned(),
            "TRIREME_STATE_DIR=/home/wso2/state".to_owned(),
        ];
        for process in ["ADAPTER", "ENFORCER"] {
            variables.push(format!("{process}_PRIVATE_KEY_PATH={keystore}/mg.key"));
            variables.push(format!("{process}_PUBLIC_CERT_PATH={keystore}/mg.pem"));
        }
        for process in ["ROUTER", "ENFORCER"] {
            variables.push(format!("{process}_LABEL=Default"));
        }
        let mut labels = Map::new();
        let mut label = |name: &str, value: &str| {
            labels.insert(format!("org.opencontainers.image.{name}"), value.into());
        };
        label("title", self.name);
        label("description", self.labels.title);
        label("version", self.labels.version);
        label("licenses", "Apache-2.0");
        if let Some(revision) = &self.labels.revision {
            label("revision", revision);
        }
        let ports: Map<String, Value> = self
            .ports
            .iter()
            .map(|port| (format!("{port}/tcp"), json!({})))
            .collect();
        let diffs: Vec<&str> = layers.iter().map(|layer| &*layer.diff).collect();
        json!({
            "architecture": self.arch,
            "os": "linux",
            "config": {
                "User": "10500:10500",
                "ExposedPorts": ports,
                "Env": variables,
                "Entrypoint": ["/home/wso2/trireme"],
                "WorkingDir": "/home/wso2",
                "Labels": labels,
                "StopSignal": "SIGTERM",
                "Healthcheck": {
                    "Test": ["CMD", "/home/wso2/trireme", "health"],
                    "Interval": 5 * SECOND,
                    "Timeout": 3 * SECOND,
                    "StartPeriod": 30 * SECOND,
                    "Retries": 3,
                },
            },
            "rootfs": { "type": "layers", "diff_ids": diffs },
            "history": layers.iter().map(|_| json!({ "created_by": "cargo xtask images" })).collect::<Vec<_>>(),
        })
    }
}

/// Files of the archive by path.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Adds one and describes it.
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest(&bytes),
            "size": bytes.len(),
        });
        self.0.insert(path_of(&descriptor), bytes);
        descriptor
    }
}

fn path_of(descriptor: &Value) -> String {
    let digest = descriptor
        .get("digest")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!("blobs/{}", digest.replace(':', "/"))
}

fn pack(layer: &Layer, quick: bool) -> anyhow::Result<Packed> {
    let plain = layer.tar(Vec::new())?;
    let level = if quick {
        Compression::fast()
    } else {
        Compression::best()
    };
    // Neither a name nor a time in the head.
    let mut gzip = GzBuilder::new().write(Vec::new(), level);
    gzip.write_all(&plain)?;
    Ok(Packed {
        diff: digest(&plain),
        bytes: gzip.finish()?,
    })
}

fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        // A string takes any text.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

fn to_bytes(value: &Value) -> anyhow::Result<Vec<u8>> {
    Ok(serde_json::to_vec(value)?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn image() -> Image<'static> {
        Image {
            name: "trireme-router",
            arch: "amd64",
            ports: &[9090],
            labels: Labels {
                title: "a router",
                version: "1.2.3",
                revision: None,
            },
        }
    }

    /// Everything is found from the index as well as from Docker's list, and is what its digest says.
    #[test]
    fn digests_lead_to_the_layers() {
        let mut layer = Layer::default();
        layer.file("etc/motd", 0o644, b"hello\n".to_vec());
        let bytes = image().archive(&[&layer], false).unwrap();
        assert_eq!(bytes, image().archive(&[&layer], false).unwrap());
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mtime().unwrap(), 0);
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        let json = |path: &str| -> Value { serde_json::from_slice(&files[path]).unwrap() };
        let follow = |descriptor: &Value| {
            let path = path_of(descriptor);
            assert_eq!(digest(&files[&path]), descriptor["digest"]);
            assert_eq!(files[&path].len() as u64, descriptor["size"].as_u64().unwrap());
            path
        };
        let manifest = json(&follow(&json("index.json")["manifests"][0]));
        let (config, packed) = (follow(&manifest["config"]), follow(&manifest["layers"][0]));
        let list = json("manifest.json");
        assert_eq!(list[0]["Config"], *config);
        assert_eq!(list[0]["Layers"], json!([packed]));
        assert_eq!(
            list[0]["RepoTags"],
            json!(["trireme-router:latest", "trireme-router:1.2.3"])
        );
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(files[&packed].as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        let config = json(&config);
        assert_eq!(config["rootfs"]["diff_ids"], json!([digest(&plain)]));
        assert_eq!(config["config"]["ExposedPorts"], json!({ "9090/tcp": {} }));
        assert_eq!(plain, layer.tar(Vec::new()).unwrap());
    }

    /// The Dockerfile makes the same image from the same layers.
    #[test]
    fn the_dockerfile_says_the_same() {
        let dockerfile = include_str!("../../../../docker-compose/images/Dockerfile");
        let config = image().config(&[]);
        let config = &config["config"];
        let prebuilt = dockerfile.split("\nFROM ").nth(1).unwrap();
        let texts = config["Env"].as_array().unwrap().iter().map(|variable| {
            let variable = variable.as_str().unwrap();
            variable.to_owned()
        });
        let test: Vec<_> = config["Healthcheck"]["Test"].as_array().unwrap()[1..]
            .iter()
            .map(Value::to_string)
            .collect();
        let texts = texts.chain([
            format!("USER {}", config["User"].as_str().unwrap()),
            format!("WORKDIR {}", config["WorkingDir"].as_str().unwrap()),
            format!("ENTRYPOINT {}", config["Entrypoint"]),
            format!("CMD [{}]", test.join(", ")),
        ]);
        for text in texts {
            assert!(prebuilt.contains(&text), "{text}");
        }
    }
}
