//! Routes that every label has (spec/adapter.md 5.2).

use std::time::Duration;

use trireme_proto::names::{ENFORCER_REST_CLUSTER, SYSTEM_FRAGMENT};
use trireme_routing::snapshot::{
    Action, Check, ClusterRef, Forward, Fragment, LocalLimit, PathMatch, Position, Revision, Rewrite, Route,
    VirtualHost,
};

use super::settings::Settings;

/// The fragment with the system routes. It is only published after the initial load, so `/ready` may always be in it.
#[must_use]
pub fn fragment(settings: &Settings) -> Fragment {
    let system = &settings.system;
    let mut routes = Vec::with_capacity(4);
    if system.testkey {
        routes.push(utility("/testkey", "/testkey", None, settings));
    }
    if let Some(limit) = system.jwks {
        routes.push(utility("/.wellknown/jwks", "/jwks", Some(limit), settings));
    }
    routes.push(direct("/health", "{\"status\": \"healthy\"}"));
    routes.push(direct("/ready", "{\"status\": \"ready\"}"));
    Fragment {
        name: SYSTEM_FRAGMENT.to_owned(),
        position: Position::System,
        revision: Revision::default(),
        virtual_hosts: vec![VirtualHost {
            name: system.host.to_ascii_lowercase(),
            routes,
        }],
    }
}

fn route(path: &str, action: Action, local_limit: Option<LocalLimit>) -> Route {
    Route {
        name: path.to_owned(),
        path: PathMatch::Exact(path.to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        action,
        check: Check::Disabled,
        cors: None,
        local_limit,
        allow_ambiguous_path: false,
    }
}

fn direct(path: &str, body: &str) -> Route {
    let action = Action::Direct {
        status: 200,
        body: body.to_owned(),
    };
    route(path, action, None)
}

/// A route to the enforcer's REST server.
fn utility(path: &str, there: &str, limit: Option<LocalLimit>, settings: &Settings) -> Route {
    let action = Action::Forward(Forward {
        cluster: ClusterRef::Name(ENFORCER_REST_CLUSTER.to_owned()),
        rewrite: Some(Rewrite::Path(there.to_owned())),
        auto_host: true,
        timeout: settings.upstream.route_timeout,
        idle_timeout: Duration::ZERO,
        retry: None,
        websocket: false,
        max_stream_duration: None,
    });
    route(path, action, limit)
}
