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

use std::sync::Arc;

use crate::Invalid;

mod check;
mod cors;
mod headers;
mod limit;
mod request;
mod router;
mod seam;

pub use self::check::Check;
pub use self::cors::Cors;
pub use self::headers::{Change, Changes, Headers, Mode, Text};
pub use self::limit::LocalLimit;
pub use self::request::Guard;
pub(crate) use self::request::Rules;
pub use self::seam::CheckSettings;
pub(crate) use self::seam::{Draft, Given, Http, PerRoute, Reader, Settings, Told};

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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use trireme_proto::Wire as _;
    use trireme_proto::envoy::config::route::v3 as proto;
    use trireme_proto::google::protobuf::Any;

    use super::*;
    use crate::wire::read::Path;
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
