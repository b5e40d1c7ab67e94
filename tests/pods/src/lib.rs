//! Kubernetes manifests on a Docker Engine: pods as containers, with their volumes, security and probes, and what replaces
//! them.
//!
//! There is no cluster here and no API server. A [`Cluster`] does what a node's kubelet does with the pods of a Deployment,
//! from the same texts that `kubectl apply` is given, so that an image, a probe or a mount that does not fit shows:
//!
//! ```text
//! manifest::Objects ─▶ Cluster ─┬─▶ network                     names of Services lead to pods
//!                               └─▶ Pod ─┬─▶ a container that holds the pod's network, ports published on 127.0.0.1
//!                                        ├─▶ volumes            folders; keys exchanged as a node does
//!                                        └─▶ containers         started, probed, restarted, stopped
//! Balancer ─▶ ports of ready pods        Paced ─▶ calls at a rate, every outcome counted
//! ```
//!
//! What a manifest says and this engine cannot do is listed (`Objects::not_shown`); what nothing here knows is an error.
//! Start with `cluster.rs`, then `pod/mod.rs`.

mod apictl;
mod balancer;
mod cluster;
mod engine;
mod images;
pub mod manifest;
mod namespace;
mod paced;
mod pod;
mod security;

pub use apictl::{Answer, Apictl, Curl, petstore};
pub use balancer::Balancer;
pub use cluster::Cluster;
pub use engine::Engine;
pub use images::{Images, root};
pub use paced::{Paced, Report, Under};
pub use pod::{Ended, Pod, Probed, Probes, State, Status, Stopped};
pub use security::{Pair, Secrets, Trust};
