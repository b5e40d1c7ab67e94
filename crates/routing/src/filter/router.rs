//! The end of the chain: what sends a request on.

use trireme_proto::envoy::extensions::filters::http::router::v3::Router;

use super::seam::Http;
use crate::wire::names;
use crate::wire::read::{fixed, nothing_else, unpack};
use crate::wire::write::pack;

pub(super) const HTTP: Http = Http {
    name: names::ROUTER,
    upgrades: true,
    encode: |_| {
        pack(&Router {
            suppress_envoy_headers: true,
            ..Default::default()
        })
    },
    decode: |config, _, path| {
        let mut router: Router = unpack(config, path)?;
        fixed(
            &std::mem::take(&mut router.suppress_envoy_headers),
            &true,
            &path.field("suppress_envoy_headers"),
        )?;
        nothing_else(&router, path)
    },
};
