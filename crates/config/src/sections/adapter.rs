//! `[adapter]`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use super::tls::{KEY, Keystore, TRUSTSTORE};
use crate::schema::section;
use crate::secret::Secret;

section! {
    /// Settings of the adapter.
    pub struct Adapter {
        /// Folder whose sub-folder `apis` holds the API projects that are deployed without the REST API.
        artifacts_directory["artifactsDirectory"]: PathBuf = "/home/wso2/artifacts".into(),
        /// Write the gateway's own error answers of SOAP APIs as SOAP faults.
        soap_error_in_xml_enabled["soapErrorInXMLEnabled"]: bool = false,
        /// The REST API that apictl and CI pipelines deploy with.
        server["server"]: Server,
        /// The default virtual host of each gateway environment. Without an API Manager, APIs can be deployed to these
        /// environments only.
        vhost_mapping["vhostMapping"]: Vec<VhostMapping> =
            vec![VhostMapping { environment: "Default".to_owned(), vhost: "localhost".to_owned() }],
        /// Service discovery with Consul.
        consul["consul"]: Consul,
        /// Key pair of the REST API and of the discovery server.
        keystore["keystore"]: Keystore,
        /// Whom the adapter trusts.
        truststore["truststore"]: Truststore,
        /// API projects from a Git repository.
        source_control["sourceControl"]: SourceControl,
        /// Metrics of the adapter.
        metrics["metrics"]: AdapterMetrics,
    }
}

section! {
    /// The REST API that apictl and CI pipelines deploy with.
    pub struct Server {
        /// Start the REST API.
        enabled["enabled"]: bool = true,
        /// Address to listen on.
        host["host"]: IpAddr = Ipv4Addr::UNSPECIFIED.into(),
        /// Port to listen on.
        port["port"]: u16 as PortText = 9843,
        /// How long an access token of the REST API is valid, such as 30m; a day at most.
        token_ttl["tokenTTL"]: Duration as TokenLife = Duration::from_secs(3600),
        /// Private key (PKCS#8 PEM, RSA) that signs the access tokens of the REST API.
        token_private_key_path["tokenPrivateKeyPath"]: PathBuf = KEY.into(),
        /// Who may use the REST API.
        users["users"]: Vec<User> =
            vec![User { username: "admin".to_owned(), password: Secret::new("$env{adapter_admin_pwd}") }],
    }
}

section! {
    /// Somebody with a name and a password.
    pub struct User {
        /// Name.
        username["username"]: String,
        /// Password: the text, `$env{NAME}` for an environment variable or `$file{PATH}` for the content of a file.
        password["password"]: Secret,
    }
}

section! {
    /// The default virtual host of a gateway environment.
    pub struct VhostMapping {
        /// Name of the environment.
        environment["environment"]: String,
        /// Host name under which its APIs are served.
        vhost["vhost"]: String,
    }
}

section! {
    /// Service discovery with Consul.
    pub struct Consul {
        /// Look up endpoints that are written as Consul services.
        enabled["enabled" was "enable"]: bool = false,
        /// Base of Consul's HTTP API.
        url["URL"]: String = "https://169.254.1.1:8501".to_owned(),
        /// Seconds between two looks at a service; also the bound on one call.
        poll_interval["pollInterval"]: Duration as Seconds = Duration::from_secs(5),
        /// Token that is sent to Consul.
        acl_token["ACLToken"]: Secret = Secret::new("d3a2a719-4221-8c65-5212-58d4727427ac"),
        /// Name under which the gateway is known in the mesh.
        mgw_service_name["mgwServiceName"]: String = "wso2".to_owned(),
        /// Reach the services through the mesh's proxies with mesh certificates.
        service_mesh_enabled["serviceMeshEnabled"]: bool = false,
        /// CA of Consul's API.
        ca_cert_file["caCertFile"]: PathBuf = "/home/wso2/security/truststore/consul/consul-agent-ca.pem".into(),
        /// Client certificate for Consul's API.
        cert_file["certFile"]: PathBuf = "/home/wso2/security/truststore/consul/local-dc-client-consul-0.pem".into(),
        /// Key of the client certificate.
        key_file["keyFile"]: PathBuf = "/home/wso2/security/truststore/consul/local-dc-client-consul-0-key.pem".into(),
    }
}

section! {
    /// Certificates the adapter trusts: those of the router, the enforcer and the API Manager.
    pub struct Truststore {
        /// A PEM file, or a folder that is searched with its sub-folders for .pem and .crt files.
        location["location"]: PathBuf = TRUSTSTORE.into(),
    }
}

section! {
    /// API projects from a Git repository; not used together with an API Manager.
    pub struct SourceControl {
        /// Deploy what the repository holds, and follow it.
        enabled["enabled"]: bool = false,
        /// Seconds between two looks at the repository.
        poll_interval["pollInterval"]: Duration as Seconds = Duration::from_secs(30),
        /// Seconds between two attempts of the first clone.
        retry_interval["retryInterval"]: Duration as Seconds = Duration::from_secs(5),
        /// Attempts of the first clone.
        max_retry_count["maxRetryCount"]: u32 = 20,
        /// Folder the repository is cloned into; its sub-folder `apis` holds the projects.
        artifacts_directory["artifactsDirectory"]: PathBuf = "/home/wso2/git-artifacts".into(),
        /// The repository.
        repository["repository"]: Repository,
    }
}

section! {
    /// The Git repository and how to reach it.
    pub struct Repository {
        /// Where it is.
        url["URL"]: String,
        /// Branch to follow; empty for the remote's default.
        branch["branch"]: String,
        /// Name for HTTP basic authentication; empty for a key file or nothing.
        username["username"]: String,
        /// Token or password that goes with the name.
        access_token["accessToken"]: Secret,
        /// Private SSH key, used when there is no name.
        ssh_key_file["SSHKeyFile"]: PathBuf,
    }
}

section! {
    /// Metrics of the adapter.
    pub struct AdapterMetrics {
        /// Serve metrics on a port of their own.
        enabled["enabled"]: bool = false,
        /// Kind of metrics; `prometheus` is the only one.
        kind["type"]: String = "prometheus".to_owned(),
        /// Port that serves /metrics.
        port["port"]: u16 = 19085,
        /// Seconds between two readings of the machine's figures.
        collection_interval["collectionInterval"]: Duration as Seconds = Duration::from_secs(5),
    }
}
