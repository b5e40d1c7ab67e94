//! What goes into the reading of a definition, and what comes out.

use std::collections::{BTreeMap, BTreeSet};

use super::hosts::Hosts;
use super::security::Schemes;
use crate::api::cluster::{Addresses, Group};
use crate::model::ambiguous::AmbiguousPath;
use crate::model::endpoint::EndpointCluster;
use crate::model::{Cors, Extensions, Requirement, Resource};

/// What of its surroundings a definition is read with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances<'a> {
    /// Stable id of the API, for the ids of its resources.
    pub(crate) uuid: &'a str,
    pub(crate) addresses: Addresses,
    /// There is no project around it: it means what its standard says.
    pub(crate) alone: bool,
    /// Hosts in the definition don't count.
    pub(crate) prototyped: bool,
    /// Examples are needed.
    pub(crate) mocked: bool,
    /// Paths with two readings that the project allows, where the definition says nothing.
    pub(crate) ambiguous_paths: Option<&'a BTreeSet<AmbiguousPath>>,
}

/// What a definition says.
#[derive(Debug, Default)]
pub(crate) struct Defined {
    pub(crate) description: Option<String>,
    /// `x-wso2-basePath`.
    pub(crate) base_path: Option<String>,
    pub(crate) hosts: Hosts,
    pub(crate) production: Option<Group>,
    pub(crate) sandbox: Option<Group>,
    /// Groups of `x-wso2-endpoints`, by name.
    pub(crate) named: BTreeMap<String, EndpointCluster>,
    pub(crate) schemes: Schemes,
    pub(crate) security: Vec<Requirement>,
    pub(crate) disable_security: bool,
    pub(crate) resources: Vec<Resource>,
    pub(crate) tier: Option<String>,
    pub(crate) auth_header: Option<String>,
    pub(crate) cors: Option<Cors>,
    pub(crate) http2_backend: bool,
    pub(crate) pass_request_payload: bool,
    pub(crate) ambiguous_paths: Option<BTreeSet<AmbiguousPath>>,
    pub(crate) extensions: Extensions,
}
