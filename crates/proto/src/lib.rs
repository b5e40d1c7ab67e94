//! Generated bindings of the messages that cross a process border, and the names they travel under.
//!
//! Envoy's own types are re-exported from `envoy-types` as [`envoy`]; ours are generated from the workspace's `proto/`
//! folder by `build.rs`. Nothing here interprets a message: `trireme-routing` and `trireme-policy` turn them into domain
//! types, and generated types stop there.

pub mod names;
mod revision;
mod wire;

pub use envoy_types::pb::envoy;
pub use envoy_types::pb::google;
pub use revision::{InvalidRevision, Revision};
pub use wire::Wire;

/// Generated code opts out of the workspace's lints here and nowhere else.
macro_rules! generated {
    ($package:literal) => {
        include!(concat!(env!("OUT_DIR"), "/", $package, ".rs"));
    };
}

/// Messages of `proto/trireme`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    rust_2018_idioms,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod trireme {
    /// Batched authorization.
    pub mod auth {
        /// Version 1.
        pub mod v1 {
            generated!("trireme.auth.v1");
        }
    }
    /// Limits that the enforcer counts.
    pub mod limits {
        /// Version 1.
        pub mod v1 {
            generated!("trireme.limits.v1");
        }
    }
    /// Typed per-route configuration.
    pub mod router {
        /// Version 1.
        pub mod v1 {
            generated!("trireme.router.v1");
        }
    }
}

/// Messages of `proto/wso2`.
#[allow(
    missing_docs,
    missing_debug_implementations,
    rust_2018_idioms,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated"
)]
pub mod wso2 {
    /// Discovery resources.
    pub mod discovery {
        /// APIs.
        pub mod api {
            generated!("wso2.discovery.api");
        }
        /// Configuration.
        pub mod config {
            /// The enforcer's.
            pub mod enforcer {
                generated!("wso2.discovery.config.enforcer");
            }
        }
        /// Global adapter.
        pub mod ga {
            generated!("wso2.discovery.ga");
        }
        /// Key managers and revoked tokens.
        pub mod keymgt {
            generated!("wso2.discovery.keymgt");
        }
        /// Subscription data.
        pub mod subscription {
            generated!("wso2.discovery.subscription");
        }
        /// Throttle data.
        pub mod throttle {
            generated!("wso2.discovery.throttle");
        }
    }
}
