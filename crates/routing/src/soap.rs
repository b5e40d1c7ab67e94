//! SOAP faults in place of the gateway's own JSON answers (spec/adapter.md 5.14). Envoy is given their text, the router
//! writes it.

/// What a SOAP call expects an error to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soap {
    /// SOAP 1.1: `text/xml` with the header `SOAPAction`.
    V1_1,
    /// SOAP 1.2: `application/soap+xml`.
    V1_2,
}

impl Soap {
    /// Both, in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::V1_2, Self::V1_1];

    /// The version that a request speaks, by its content type, parameters aside, and its headers.
    pub fn of<'a>(content_type: &[u8], header: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Self> {
        let media = content_type
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let spoken = |soap: &Self| {
            media
                .trim_ascii()
                .eq_ignore_ascii_case(soap.content_type().as_bytes())
                && soap.header().is_none_or(|name| header(name).is_some())
        };
        Self::ALL.into_iter().find(spoken)
    }

    /// Of calls and of faults.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1_1 => "text/xml",
            Self::V1_2 => "application/soap+xml",
        }
    }

    /// The header that a call must have beside its content type.
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::V1_1 => Some("soapaction"),
            Self::V1_2 => None,
        }
    }

    /// A fault. Namespace and children of version 1.2 are not as SOAP has them, but as upstream's callers know them.
    /// Nothing is escaped: the texts are the gateway's own.
    pub fn fault(self, code: &str, message: &str, description: &str) -> String {
        let (namespace, side) = match self {
            Self::V1_1 => ("http://schemas.xmlsoap.org/soap/envelope/", "Server"),
            Self::V1_2 => ("http://www.w3.org/2003/05/soap-envelope/", "Receiver"),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><soapenv:Envelope xmlns:soapenv=\"{namespace}\"><soapenv:Body>\
             <soapenv:Fault><faultcode>soapenv:{side}</faultcode><faultstring>{message}</faultstring>\
             <detail>{code}:{description}</detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
        )
    }
}
