//! The facts of one check. Untrusted input ends here: whatever follows works on this value.

use trireme_policy::api::{InvalidRevision, Revision};
use trireme_proto::envoy::service::auth::v3::CheckRequest;
use trireme_proto::names::context;

use crate::verdict::KeyType;
use crate::wire::{Fields, Malformed, entry};

/// A check that can't be decided because it isn't one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCheck {
    /// The bytes are not a `CheckRequest`.
    #[error("check request cannot be read")]
    Malformed(#[from] Malformed),
    /// The route's revision can't be read, so nobody can tell whether its policy is here.
    #[error("context extension trireme.revision cannot be read")]
    Revision(#[from] InvalidRevision),
}

/// What a route tells of itself (context extensions).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    /// Name of the API; empty when the router's control plane doesn't say.
    pub(crate) name: &'a str,
    /// Virtual host.
    pub(crate) vhost: &'a str,
    /// Versioned base path.
    pub(crate) base_path: &'a str,
    /// Version of the API.
    pub(crate) version: &'a str,
    /// Resource template.
    pub(crate) template: &'a str,
    /// Production cluster; empty when there is none.
    pub(crate) production: &'a str,
    /// Sandbox cluster; empty when there is none.
    pub(crate) sandbox: &'a str,
    /// Revision the route belongs to; absent from routes that a stock Envoy got, which is always satisfied.
    pub(crate) revision: Revision,
}

impl<'a> Route<'a> {
    /// The cluster of an environment; empty when the API has none there.
    pub(crate) fn cluster(&self, environment: KeyType) -> &'a str {
        match environment {
            KeyType::Production => self.production,
            KeyType::Sandbox => self.sandbox,
        }
    }
}

/// The facts of one check, borrowed from the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    /// Method, in upper case as Envoy sends it.
    pub(crate) method: &'a str,
    /// Path with query, as received.
    pub(crate) path: &'a str,
    /// Id given by the router.
    pub(crate) id: &'a str,
    /// Address of the downstream peer.
    pub(crate) peer: &'a str,
    /// Certificate of the downstream peer, percent-encoded PEM; empty when it showed none.
    pub(crate) certificate: &'a str,
    /// What the route tells of itself.
    pub(crate) route: Route<'a>,
    /// Headers by lower-case name; look them up with [`Attributes::header`].
    pub(crate) headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Attributes<'a> {
    /// Reads a serialized `CheckRequest`.
    ///
    /// # Errors
    /// When the bytes are not one, or the revision isn't.
    pub(crate) fn read(message: &'a [u8]) -> Result<Self, InvalidCheck> {
        let mut attributes = Self {
            headers: Vec::with_capacity(24),
            ..Self::default()
        };
        for field in Fields::of(message) {
            if let (1, context) = field? {
                attributes.read_context(context.bytes())?;
            }
        }
        Ok(attributes)
    }

    /// The same facts from a decoded message, for the unary call.
    ///
    /// # Errors
    /// When the revision isn't one.
    pub(crate) fn of(request: &'a CheckRequest) -> Result<Self, InvalidCheck> {
        use trireme_proto::envoy::config::core::v3::address::Address;
        let mut attributes = Self::default();
        let Some(context) = &request.attributes else {
            return Ok(attributes);
        };
        if let Some(source) = &context.source {
            attributes.certificate = &source.certificate;
            if let Some(Address::SocketAddress(socket)) = source
                .address
                .as_ref()
                .and_then(|address| address.address.as_ref())
            {
                attributes.peer = &socket.address;
            }
        }
        if let Some(http) = context.request.as_ref().and_then(|request| request.http.as_ref()) {
            attributes.method = &http.method;
            attributes.path = &http.path;
            attributes.id = &http.id;
            attributes.headers = http
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
        }
        for (key, value) in &context.context_extensions {
            attributes.read_extension(key, value)?;
        }
        Ok(attributes)
    }

    /// Facts with these headers and nothing else, for tests of what reads headers.
    #[cfg(test)]
    pub(crate) fn with_headers(headers: &[(&'a str, &'a str)]) -> Self {
        Self {
            headers: headers.to_vec(),
            ..Self::default()
        }
    }

    /// Value of a header, by its lower-case name.
    #[must_use]
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        // The last entry of a repeated key is the value of a protobuf map.
        self.headers
            .iter()
            .rev()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    /// Id of the request: the header, else the router's.
    #[must_use]
    pub(crate) fn request_id(&self) -> &'a str {
        self.header("x-request-id")
            .filter(|id| !id.is_empty())
            .unwrap_or(self.id)
    }

    /// Path without query.
    #[must_use]
    pub(crate) fn path_only(&self) -> &'a str {
        self.path.split_once('?').map_or(self.path, |(path, _)| path)
    }

    /// Query without its `?`, absent when there is none.
    #[must_use]
    pub(crate) fn query(&self) -> Option<&'a str> {
        self.path.split_once('?').map(|(_, query)| query)
    }

    fn read_context(&mut self, message: &'a [u8]) -> Result<(), InvalidCheck> {
        for field in Fields::of(message) {
            match field? {
                (1, source) => self.read_source(source.bytes())?,
                (4, request) => {
                    for field in Fields::of(request.bytes()) {
                        if let (2, http) = field? {
                            self.read_http(http.bytes())?;
                        }
                    }
                }
                (10, extension) => {
                    let (key, value) = entry(extension.bytes())?;
                    self.read_extension(key, value)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `AttributeContext.Peer`.
    fn read_source(&mut self, message: &'a [u8]) -> Result<(), InvalidCheck> {
        for field in Fields::of(message) {
            match field? {
                (1, address) => {
                    // Address.socket_address (1), its address (2).
                    for field in Fields::of(address.bytes()) {
                        if let (1, socket) = field? {
                            for field in Fields::of(socket.bytes()) {
                                if let (2, text) = field? {
                                    self.peer = text.text()?;
                                }
                            }
                        }
                    }
                }
                (5, certificate) => self.certificate = certificate.text()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `AttributeContext.HttpRequest`.
    fn read_http(&mut self, message: &'a [u8]) -> Result<(), InvalidCheck> {
        for field in Fields::of(message) {
            match field? {
                (1, id) => self.id = id.text()?,
                (2, method) => self.method = method.text()?,
                (3, header) => self.headers.push(entry(header.bytes())?),
                (4, path) => self.path = path.text()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_extension(&mut self, key: &str, value: &'a str) -> Result<(), InvalidRevision> {
        match key {
            context::NAME => self.route.name = value,
            context::VHOST => self.route.vhost = value,
            context::BASE_PATH => self.route.base_path = value,
            context::VERSION => self.route.version = value,
            context::PATH => self.route.template = value,
            context::PROD_CLUSTER => self.route.production = value,
            context::SAND_CLUSTER => self.route.sandbox = value,
            context::REVISION => self.route.revision = value.parse()?,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use trireme_proto::envoy::config::core::v3::{Address, SocketAddress, address, socket_address};
    use trireme_proto::envoy::service::auth::v3::{AttributeContext, attribute_context as wire};

    use super::*;

    fn request() -> CheckRequest {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(wire::Peer {
                    address: Some(Address {
                        address: Some(address::Address::SocketAddress(SocketAddress {
                            address: "10.1.2.3".to_owned(),
                            port_specifier: Some(socket_address::PortSpecifier::PortValue(4711)),
                            ..SocketAddress::default()
                        })),
                    }),
                    certificate: "-----BEGIN%20CERT".to_owned(),
                    ..wire::Peer::default()
                }),
                request: Some(wire::Request {
                    http: Some(wire::HttpRequest {
                        id: "router-id".to_owned(),
                        method: "GET".to_owned(),
                        path: "/v2/pet/1?a=b?c".to_owned(),
                        host: "localhost".to_owned(),
                        size: -1,
                        protocol: "HTTP/1.1".to_owned(),
                        raw_body: vec![0xff; 300],
                        headers: [
                            pair("authorization", "Bearer x"),
                            pair("x-request-id", "client-id"),
                        ]
                        .into_iter()
                        .collect(),
                        ..wire::HttpRequest::default()
                    }),
                    ..wire::Request::default()
                }),
                context_extensions: [
                    pair("name", "Pets"),
                    pair("vHost", "localhost"),
                    pair("basePath", "/v2"),
                    pair("version", "1.0"),
                    pair("path", "/pet/{id}"),
                    pair("prodClusterName", "prod"),
                    pair("sandClusterName", "sand"),
                    pair("method", "GET PUT"),
                    pair("trireme.revision", "12.3"),
                ]
                .into_iter()
                .collect(),
                ..AttributeContext::default()
            }),
        }
    }

    #[test]
    fn both_readings_of_a_request_agree() {
        let request = request();
        let bytes = request.encode_to_vec();
        let (read, of) = (
            Attributes::read(&bytes).unwrap(),
            Attributes::of(&request).unwrap(),
        );
        for attributes in [&read, &of] {
            assert_eq!(attributes.method, "GET");
            assert_eq!(attributes.path_only(), "/v2/pet/1");
            assert_eq!(attributes.query(), Some("a=b?c"));
            assert_eq!(attributes.peer, "10.1.2.3");
            assert_eq!(attributes.certificate, "-----BEGIN%20CERT");
            assert_eq!(attributes.request_id(), "client-id");
            assert_eq!(attributes.header("authorization"), Some("Bearer x"));
            assert_eq!(attributes.header("Authorization"), None);
            assert_eq!(attributes.route.name, "Pets");
            assert_eq!(
                attributes.route.revision,
                Revision {
                    epoch: 12,
                    counter: 3
                }
            );
        }
        assert_eq!(read.route, of.route);
    }

    #[test]
    fn without_a_header_the_routers_id_counts() {
        let mut request = request();
        let http = request
            .attributes
            .as_mut()
            .unwrap()
            .request
            .as_mut()
            .unwrap()
            .http
            .as_mut()
            .unwrap();
        http.headers.clear();
        assert_eq!(Attributes::of(&request).unwrap().request_id(), "router-id");
    }

    #[test]
    fn a_revision_that_cannot_be_read_is_an_error_and_an_absent_one_is_zero() {
        let mut request = request();
        let extensions = &mut request.attributes.as_mut().unwrap().context_extensions;
        extensions.insert("trireme.revision".to_owned(), "x".to_owned());
        assert!(matches!(
            Attributes::read(&request.encode_to_vec()),
            Err(InvalidCheck::Revision(_))
        ));
        request
            .attributes
            .as_mut()
            .unwrap()
            .context_extensions
            .remove("trireme.revision");
        let bytes = request.encode_to_vec();
        assert_eq!(
            Attributes::read(&bytes).unwrap().route.revision,
            Revision::default()
        );
    }

    #[test]
    fn damaged_messages_are_refused_exactly_when_the_generated_decoder_refuses_them() {
        let bytes = request().encode_to_vec();
        for end in 0..bytes.len() {
            let part = &bytes[..end];
            assert_eq!(
                Attributes::read(part).is_ok(),
                CheckRequest::decode(part).is_ok(),
                "{end}"
            );
        }
        for index in 0..bytes.len() {
            for value in [0x00, 0x07, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[index] = value;
                // Ours skips what it doesn't read, so it may take what the other refuses, never panic.
                drop(Attributes::read(&damaged));
            }
        }
        assert_eq!(Attributes::read(&[]).unwrap().method, "");
    }
}
