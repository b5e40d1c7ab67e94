//! Filters: what a request, and its response, passes between caller and upstream.
//!
//! A filter is a file here with all that is said of it between the processes: the type of its settings, how they are
//! written, how they are read, and the test that both agree. Settings travel as Envoy's own message wherever Envoy has such
//! a filter, in `typed_per_filter_config` or in fields of `Route`; else as a message of ours, which only Trireme's router is
//! sent.
//!
//! ```text
//! Route.filters ──encode──▶ Draft { route, typed_per_filter_config }  ─── wire ───▶  Given ──decode──▶ Route.filters
//! ```
//!
//! To add one: a file with a type that implements [`PerRoute`], its line in `filters!`, and, if Envoy has an HTTP filter
//! for it, its line in [`CHAIN`].

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Name;
use trireme_proto::Wire;
use trireme_proto::envoy::config::route::v3 as proto;
use trireme_proto::google::protobuf::Any;

use crate::Invalid;
use crate::snapshot::Listener;
use crate::wire::own;
use crate::wire::read::{Path, nothing_else, unpack};
use crate::wire::write::{Writer, tag};

mod check;
mod cors;
mod headers;
mod limit;
mod request;
mod router;

pub use self::check::{Check, CheckSettings};
pub use self::cors::Cors;
pub use self::headers::{Change, Changes, Headers, Mode};
pub use self::limit::LocalLimit;
pub use self::request::Guard;
pub(crate) use self::request::Rules;

/// The HTTP filters of every listener, in the order in which requests pass them.
pub(crate) const CHAIN: [&Http; 4] = [
    // Before all that refuses: a preflight carries no credentials, and a page must be able to read a refusal.
    &cors::HTTP,
    // Before the check, which it spares what is too much.
    &limit::HTTP,
    // Behind it nothing may change what the enforcer was asked about.
    &check::HTTP,
    // Sends the request, so it is the last.
    &router::HTTP,
];

/// An HTTP filter of a listener.
#[derive(Debug)]
pub(crate) struct Http {
    /// What Envoy knows it by, here and in `typed_per_filter_config`.
    pub(crate) name: &'static str,
    /// Whether requests that change to another protocol pass it, too.
    pub(crate) upgrades: bool,
    /// Its configuration.
    pub(crate) encode: fn(&Listener) -> Any,
    /// Reads its configuration.
    pub(crate) decode: fn(Option<&Any>, &mut Settings, &Path<'_>) -> Result<(), Invalid>,
}

/// What the HTTP filters of a listener say, all routes alike.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Settings {
    pub(crate) check: Option<CheckSettings>,
}

/// What a route tells one of its filters.
pub(crate) trait PerRoute: Sized {
    /// Adds it to the message of the route.
    fn encode(&self, draft: &mut Draft);

    /// Takes it out of the message of the route, which may say nothing.
    fn decode(given: &mut Given<'_>) -> Result<Self, Invalid>;
}

macro_rules! filters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What the filters of a route are told. One that is told nothing does nothing, but for the check.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Filters {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Filters {
            /// Adds what all filters are told to the message of a route.
            pub(crate) fn encode(&self, draft: &mut Draft) {
                $(self.$name.encode(draft);)*
            }

            /// Takes what all filters are told out of the message of a route.
            pub(crate) fn decode(given: &mut Given<'_>) -> Result<Self, Invalid> {
                Ok(Self { $($name: PerRoute::decode(given)?,)* })
            }
        }
    };
}

filters! {
    /// Whether and with which context the enforcer is asked.
    check: Check,
    /// CORS policy; absent disables the filter. Shared, since the routes of an API mostly have the same.
    cors: Option<Arc<Cors>>,
    /// Changes of headers.
    headers: Option<Arc<Headers>>,
    /// Local rate limit: tokens per interval; 429 beyond.
    limit: Option<LocalLimit>,
}

/// Who reads what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A stock Envoy: nothing of Trireme's own goes along.
    Envoy,
    /// Trireme's router.
    Trireme,
}

/// A route's message on its way out.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The message, its `typed_per_filter_config` apart.
    pub(crate) route: proto::Route,
    configs: BTreeMap<&'static str, Any>,
    reader: Reader,
}

/// A route's message on its way in.
#[derive(Debug)]
pub(crate) struct Given<'a> {
    /// Whatever no filter takes out of it is refused in the end.
    pub(crate) route: &'a mut proto::Route,
    /// Where it stands.
    pub(crate) path: &'a Path<'a>,
    /// Where its `typed_per_filter_config` stands.
    list: &'a Path<'a>,
}

// === impl Draft ===

impl Draft {
    pub(crate) fn new(route: proto::Route, reader: Reader) -> Self {
        Self {
            route,
            configs: BTreeMap::new(),
            reader,
        }
    }

    /// Sets a filter's configuration: a message of Envoy's.
    fn set(&mut self, name: &'static str, config: Any) {
        self.configs.insert(name, config);
    }

    /// Sets a filter's configuration: a message of ours, which is not for every reader.
    fn set_own(&mut self, name: &'static str, url: &str, message: &impl Wire) {
        if self.reader == Reader::Trireme {
            self.set(name, own::write(url, message));
        }
    }

    /// The message, on the wire.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut message = Writer::of(&self.route);
        for (name, config) in self.configs {
            message.entry(tag::ROUTE_TYPED_PER_FILTER_CONFIG, name, &config.to_wire());
        }
        message.finish()
    }
}

// === impl Given ===

impl<'a> Given<'a> {
    /// `list` is where `typed_per_filter_config` stands, `path` where the route does.
    pub(crate) fn new(route: &'a mut proto::Route, path: &'a Path<'a>, list: &'a Path<'a>) -> Self {
        Self { route, path, list }
    }

    /// Takes out a filter's configuration and says where it stood.
    fn take<M: Wire + Name>(&mut self, name: &'static str) -> Result<Option<(M, Path<'a>)>, Invalid> {
        let Some(any) = self.route.typed_per_filter_config.remove(name) else {
            return Ok(None);
        };
        let path = self.list.key(name);
        Ok(Some((unpack(Some(&any), &path)?, path)))
    }

    /// As [`Given::take`], for a message of ours.
    fn take_own<M: Wire>(&mut self, name: &'static str, url: &str) -> Result<Option<M>, Invalid> {
        let config = self.route.typed_per_filter_config.remove(name);
        config
            .map(|any| own::read(any, url, &self.list.key(name)))
            .transpose()
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), Invalid> {
        match self.route.typed_per_filter_config.keys().min() {
            Some(other) => Err(self.list.key(other).invalid("not supported")),
            None => nothing_else(self.route, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::wire::write::pack;

    /// Writes for that reader, and reads. Nothing else may come of it.
    pub(super) fn through<T: PerRoute>(value: &T, reader: Reader) -> T {
        let mut draft = Draft::new(proto::Route::default(), reader);
        value.encode(&mut draft);
        let mut route = proto::Route::from_wire(&draft.finish()).expect("encoded");
        let mut given = Given::new(&mut route, &Path::ROOT, &Path::ROOT);
        let read = T::decode(&mut given).expect("in the subset");
        given.finish().expect("only this filter's");
        read
    }

    /// What is wrong with a route's message.
    fn refused<T: PerRoute>(mut route: proto::Route) -> String {
        let mut given = Given::new(&mut route, &Path::ROOT, &Path::ROOT);
        let Err(invalid) = T::decode(&mut given) else {
            panic!("read")
        };
        invalid.to_string()
    }

    /// What is wrong with a filter's configuration, with the path from there.
    pub(super) fn refusal<T: PerRoute>(name: &'static str, config: Any) -> String {
        let refused = refused::<T>(proto::Route {
            typed_per_filter_config: HashMap::from([(name.to_owned(), config)]),
            ..Default::default()
        });
        let from = format!("[{name:?}]");
        refused
            .strip_prefix(&from)
            .expect("a path below the filter's")
            .to_owned()
    }

    #[test]
    fn names_are_given_once_and_the_router_is_last() {
        let names = CHAIN.map(|filter| filter.name);
        let mut sorted = names;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        assert_eq!(names.last(), Some(&router::HTTP.name));
        assert!(
            CHAIN
                .iter()
                .any(|filter| filter.name == check::HTTP.name && filter.upgrades)
        );
    }

    #[test]
    fn what_no_filter_takes_is_refused() {
        let mut route = proto::Route {
            typed_per_filter_config: HashMap::from([
                ("b".to_owned(), pack(&proto::Route::default())),
                ("a".to_owned(), Any::default()),
            ]),
            ..Default::default()
        };
        let mut given = Given::new(&mut route, &Path::ROOT, &Path::ROOT);
        Filters::decode(&mut given).expect("says nothing");
        let invalid = given.finish().expect_err("two unknown ones");
        assert_eq!(invalid.to_string(), r#"["a"]: not supported"#);
    }
}
