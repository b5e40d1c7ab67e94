//! Routes that every label has (spec/adapter.md 5.2).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use trireme_proto::names::{CLIENT_ADDRESS_HEADER, ENFORCER_REST_CLUSTER, SYSTEM_FRAGMENT};
use trireme_routing::RouteTable;
use trireme_routing::snapshot::{
    Action, Change, Changes, Check, ClusterRef, Filters, Forward, Fragment, Headers, LocalLimit, Mode,
    PathMatch, Position, Revision, Rewrite, Route, Text, VirtualHost,
};

use crate::{Settings, template};

/// The fragment with the system routes. It is only published after the initial load, so `/ready` may always be in it.
#[must_use]
pub fn fragment(settings: &Settings) -> Fragment {
    let system = &settings.system;
    let mut routes = Vec::with_capacity(4);
    if system.testkey {
        let mut route = utility("/testkey", "/testkey", None, settings);
        route.filters.headers = Some(Arc::new(telling_the_address()));
        routes.push(route);
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

/// Passwords are guessed at the server behind it, which slows down who does: it must know who that is, whatever the caller says.
fn telling_the_address() -> Headers {
    Headers {
        request: Changes {
            set: vec![Change {
                name: HeaderName::from_static(CLIENT_ADDRESS_HEADER),
                value: Text::ClientAddress,
                mode: Mode::Overwrite,
            }],
            ..Changes::default()
        },
        ..Headers::default()
    }
}

/// Methods that a route is looked for with; all but `OPTIONS`, which every route takes.
const METHODS: [&str; 6] = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"];

/// Paths of the gateway's own that an API would answer if they were not: the owner of the API should know.
pub(crate) fn shadows(there: &VirtualHost, settings: &Settings) -> Vec<String> {
    let own = fragment(settings);
    let Some(here) = own.virtual_hosts.first() else {
        return Vec::new();
    };
    // Compiling an API's patterns costs; few have a base path above one of these.
    let near = |path: &str| {
        let above = |route: &Route| {
            let rest = path.strip_prefix(route.name.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        there.routes.iter().any(above)
    };
    let paths: Vec<&str> = here
        .routes
        .iter()
        .map(|route| route.name.as_str())
        .filter(|path| here.name == there.name && near(path))
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let api = Fragment {
        name: there.name.clone(),
        position: Position::Front,
        revision: Revision::default(),
        virtual_hosts: vec![there.clone()],
    };
    let table = RouteTable::new().update(vec![api], &[]).table;
    let served = |path: &&str| {
        METHODS
            .iter()
            .any(|method| table.find(&there.name, path, method, |_| None).is_some())
    };
    paths.into_iter().filter(served).map(str::to_owned).collect()
}

fn route(path: &str, action: Action, limit: Option<LocalLimit>) -> Route {
    // With a slash at its end as well, like the paths of APIs: what is one path to many must not be an API's.
    let pattern = template::pattern(path, "", false, "");
    Route {
        name: path.to_owned(),
        filters: Filters {
            check: Check::Disabled,
            limit,
            ..Filters::default()
        },
        ..Route::new(PathMatch::Regex(pattern), action)
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
