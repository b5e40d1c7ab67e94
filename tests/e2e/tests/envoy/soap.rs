//! SOAP calls where the gateway answers them with faults.

use crate::case::{Case, get};

const SOAP12: &[&str] = &["content-type: application/soap+xml"];
const SOAP11: &[&str] = &["content-type: text/xml", "SOAPAction: \"urn:a\""];

pub(crate) const SOAP: &[Case] = &[
    Case {
        headers: SOAP12,
        ..get("1.2, unknown path", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: SOAP11,
        ..get("1.1, unknown path", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["content-type: Application/SOAP+XML ; charset=utf-8"],
        ..get("1.2 with a charset", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["content-type: text/xml;charset=utf-8", "soapaction:"],
        ..get("1.1 with a charset and an empty action", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["content-type: text/xml"],
        ..get("XML without an action", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["content-type: application/soap+xmls", "soapaction: a"],
        ..get("another type", "/shop/1.0/nothing", 404)
    },
    Case {
        headers: &["content-type: application/grpc", "soapaction: a"],
        ..get("gRPC", "/shop/1.0/nothing", 200)
    },
    get("JSON", "/shop/1.0/nothing", 404),
    Case {
        headers: SOAP12,
        ..get("1.2, upstream that is down", "/shop/1.0/down", 503)
    },
    Case {
        headers: SOAP11,
        ..get("1.1, upstream that is down", "/shop/1.0/down", 503)
    },
    Case {
        headers: SOAP12,
        ..get("1.2, upstream that is slow", "/shop/1.0/slow", 504)
    },
    Case {
        token: false,
        headers: SOAP12,
        ..get("1.2, no token", "/shop/1.0/items/7", 401)
    },
    Case {
        token: false,
        headers: SOAP11,
        ..get("1.1, no token", "/shop/1.0/items/7", 401)
    },
    Case {
        headers: &["content-type: application/soap+xml", "x-want-status: 500"],
        ..get("500 of the upstream", "/shop/1.0/items/7", 500)
    },
];
