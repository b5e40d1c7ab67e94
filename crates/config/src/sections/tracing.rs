//! `[tracing]`.

use crate::properties::Properties;
use crate::schema::section;

section! {
    /// Distributed tracing.
    pub struct Tracing {
        /// Send spans.
        enabled["enabled"]: bool = false,
        /// What the collector speaks: zipkin, otlp or azure.
        kind["type"]: String = "zipkin".to_owned(),
        /// Where the collector is, and how much is sent.
        config_properties["configProperties"]: Properties = Properties::from_iter([
            ("libraryName", "CHOREO-CONNECT"),
            ("maximumTracesPerSecond", "2"),
            ("maxPathLength", "256"),
            ("host", "jaeger"),
            ("port", "9411"),
            ("endpoint", "/api/v2/spans"),
        ]),
    }
}
