//! `[enforcer]`.

use std::path::PathBuf;
use std::time::Duration;

use super::User;
use super::throttling::Throttling;
use super::tls::{KEY, OWN_TRUSTED_CERTIFICATE};
use crate::properties::Properties;
use crate::schema::section;
use crate::secret::Secret;

const KEY_MANAGER_CERTIFICATE: &str = "/home/wso2/security/truststore/wso2carbon.pem";
const TEST_KEY_ISSUER: &str = "https://localhost:9095/testkey";

section! {
    /// Settings of the enforcer.
    pub struct Enforcer {
        /// Who may use the enforcer's own REST API.
        management["management"]: Management,
        /// The enforcer's own REST API.
        rest_server["restServer"]: RestServer,
        /// Filters of one's own, run with every request.
        filters["filters"]: Vec<Filter>,
        /// Metrics of the enforcer.
        metrics["metrics"]: EnforcerMetrics,
        /// Whose tokens are taken, and from where.
        security["security"]: Security,
        /// The port that the router asks on.
        auth_service["authService"]: AuthService,
        /// Tokens about the caller for upstream services.
        jwt_generator["jwtGenerator"]: JwtGenerator,
        /// Caches of tokens.
        cache["cache"]: Cache,
        /// Rate limits.
        throttling["throttling"]: Throttling,
        /// Tokens for trying APIs out.
        jwt_issuer["jwtIssuer"]: JwtIssuer,
    }
}

section! {
    /// Who may use the enforcer's own REST API.
    pub struct Management {
        /// Name.
        username["username"]: String = "admin".to_owned(),
        /// Password.
        password["password"]: Secret = Secret::new("admin"),
    }
}

section! {
    /// The enforcer's own REST API, which tells what it holds.
    pub struct RestServer {
        /// Start it.
        enabled["enabled" was "enable"]: bool = true,
    }
}

section! {
    /// A filter of one's own.
    pub struct Filter {
        /// Its class.
        class_name["className"]: String,
        /// Its place among the filters, from 1.
        position["position"]: i32,
        /// What it is started with.
        config_properties["configProperties"]: Properties,
    }
}

section! {
    /// Metrics of the enforcer. They also turn on the stream of access logs from the router.
    pub struct EnforcerMetrics {
        /// Publish metrics.
        enabled["enabled"]: bool = false,
        /// Where to; `azure` is the only one.
        kind["type"]: String = "azure".to_owned(),
        /// Port of the metrics.
        port["port"]: u16,
        /// Seconds between two readings.
        collection_interval["collectionInterval"]: Duration as Seconds,
    }
}

section! {
    /// Whose tokens are taken, and from where.
    pub struct Security {
        /// The header a token comes in.
        auth_header["authHeader"]: AuthHeader,
        /// Certificates of callers.
        mutual_ssl["mutualSSL"]: MutualSsl,
        /// Issuers of tokens. A list in the file replaces all of these.
        token_service["tokenService"]: Vec<TokenService> = token_services(),
    }
}

section! {
    /// The header a token comes in.
    pub struct AuthHeader {
        /// Send the token on to the upstream service.
        enable_outbound_auth_header["enableOutboundAuthHeader"]: bool = false,
        /// Name of the header.
        authorization_header["authorizationHeader"]: String = "authorization".to_owned(),
        /// Name of the header for keys of the test console.
        test_console_header_name["testConsoleHeaderName"]: String = "Internal-Key".to_owned(),
    }
}

section! {
    /// Certificates of callers.
    pub struct MutualSsl {
        /// Header in which a load balancer in front passes the caller's certificate.
        certificate_header["certificateHeader"]: String = "X-WSO2-CLIENT-CERTIFICATE".to_owned(),
        /// Use the certificate of the TLS connection; false uses the header.
        enable_client_validation["enableClientValidation"]: bool = true,
        /// The certificate in the header is URL-encoded.
        client_certificate_encode["clientCertificateEncode"]: bool = false,
        /// Send the header on to the upstream service.
        enable_outbound_certificate_header["enableOutboundCertificateHeader"]: bool = false,
    }
}

section! {
    /// An issuer of tokens.
    pub struct TokenService {
        /// Name of the issuer; some names have a meaning: Resident Key Manager, MGW, APIM Publisher, APIM APIkey.
        name["name"]: String,
        /// The `iss` claim of its tokens.
        issuer["issuer"]: String,
        /// Alias of its certificate.
        certificate_alias["certificateAlias"]: String,
        /// Where its keys are published; used instead of the certificate.
        jwks_url["jwksURL"]: String,
        /// Require that the caller's application is subscribed to the API.
        validate_subscription["validateSubscription"]: bool,
        /// The claim that holds the application's consumer key.
        consumer_key_claim["consumerKeyClaim"]: String,
        /// Certificate that its tokens are verified with, a PEM file.
        certificate_file_path["certificateFilePath"]: PathBuf,
        /// Renames claims.
        claim_mapping["claimMapping"]: Vec<ClaimMapping>,
    }
}

section! {
    /// Renames a claim.
    pub struct ClaimMapping {
        /// Name in the token.
        remote_claim["remoteClaim"]: String,
        /// Name in the gateway.
        local_claim["localClaim"]: String,
    }
}

fn token_services() -> Vec<TokenService> {
    let row = |name: &str, issuer: &str, alias: &str, subscription: bool, certificate: &str| TokenService {
        name: name.to_owned(),
        issuer: issuer.to_owned(),
        certificate_alias: alias.to_owned(),
        validate_subscription: subscription,
        certificate_file_path: certificate.into(),
        ..TokenService::default()
    };
    vec![
        TokenService {
            consumer_key_claim: "azp".to_owned(),
            ..row(
                "Resident Key Manager",
                "https://localhost:9443/oauth2/token",
                "wso2carbon",
                false,
                KEY_MANAGER_CERTIFICATE,
            )
        },
        row("MGW", TEST_KEY_ISSUER, "mgw", false, OWN_TRUSTED_CERTIFICATE),
        row(
            "APIM Publisher",
            "https://localhost:9443/publisher",
            "publisher_certificate_alias",
            true,
            KEY_MANAGER_CERTIFICATE,
        ),
        row(
            "APIM APIkey",
            "",
            "apikey_certificate_alias",
            true,
            KEY_MANAGER_CERTIFICATE,
        ),
    ]
}

section! {
    /// The port that the router asks on.
    pub struct AuthService {
        /// Port.
        port["port"]: u16 = 8081,
        /// Greatest message in bytes.
        max_message_size["maxMessageSize"]: i32 = 1_000_000_000,
        /// Greatest size of the headers of a call in bytes.
        max_header_limit["maxHeaderLimit"]: i32 = 8192,
        /// Seconds without a call until a connection is probed.
        keep_alive_time["keepAliveTime"]: Duration as Seconds = Duration::from_secs(600),
        /// Threads of the original; accepted, this gateway needs none.
        thread_pool["threadPool"]: ThreadPool,
    }
}

section! {
    /// Threads of the original; accepted, this gateway needs none.
    pub struct ThreadPool {
        /// Threads that are always there.
        core_size["coreSize"]: i32 = 400,
        /// Most threads.
        max_size["maxSize"]: i32 = 500,
        /// Seconds until an idle thread ends.
        keep_alive_time["keepAliveTime"]: Duration as Seconds = Duration::from_secs(600),
        /// Calls that may wait; -1 is no bound.
        queue_size["queueSize"]: i32 = 1000,
    }
}

section! {
    /// Tokens about the caller for upstream services.
    pub struct JwtGenerator {
        /// Add such a token to every request, and publish the keys at /.wellknown/jwks.
        enabled["enabled" was "enable"]: bool = false,
        /// base64 or base64url.
        encoding["encoding"]: String = "base64".to_owned(),
        /// Prefix of the claims.
        claim_dialect["claimDialect"]: String = "http://wso2.org/claims".to_owned(),
        /// Put the prefix before claims of the incoming token as well.
        convert_dialect["convertDialect"]: bool = false,
        /// Name of the header.
        header["header"]: String = "X-JWT-Assertion".to_owned(),
        /// Algorithm of the signature.
        signing_algorithm["signingAlgorithm"]: String = "SHA256withRSA".to_owned(),
        /// Add claims about the user.
        enable_user_claims["enableUserClaims"]: bool = false,
        /// Class that makes the token.
        gateway_generator_impl["gatewayGeneratorImpl"]: String =
            "org.wso2.carbon.apimgt.common.gateway.jwtgenerator.APIMgtGatewayJWTGeneratorImpl".to_owned(),
        /// Class that finds claims about the user.
        claims_extractor_impl["claimsExtractorImpl"]: String =
            "org.wso2.carbon.apimgt.impl.token.ExtendedDefaultClaimsRetriever".to_owned(),
        /// Seconds a token is valid.
        token_ttl["tokenTTL"]: Duration as Seconds = Duration::from_secs(3600),
        /// Name the key by kid; false names it by x5t.
        use_kid_property["useKidProperty"]: bool = true,
        /// Requests for the published keys in one window.
        jwks_ratelimit_quota["jwksRatelimitQuota"]: u32 = 1000,
        /// Length of that window in seconds.
        jwks_ratelimit_time_window["jwksRatelimitTimeWindowInSeconds"]: Duration as Seconds = Duration::from_secs(10),
        /// Keys that are published; exactly one of them signs.
        keypair["keypair"]: Vec<KeyPair> = vec![KeyPair {
            public_certificate_path: OWN_TRUSTED_CERTIFICATE.into(),
            private_key_path: KEY.into(),
            use_for_signing: true,
        }],
    }
}

section! {
    /// A key of the token generator.
    pub struct KeyPair {
        /// Certificate, a PEM file.
        public_certificate_path["publicCertificatePath"]: PathBuf,
        /// Private key, a PEM file; only the signing entry needs one.
        private_key_path["privateKeyPath"]: PathBuf,
        /// Sign with this one.
        use_for_signing["useForSigning"]: bool,
    }
}

section! {
    /// Caches of tokens.
    pub struct Cache {
        /// Remember verified tokens.
        enabled["enabled"]: bool = true,
        /// Most entries of a cache.
        maximum_size["maximumSize"]: u32 = 10_000,
        /// Minutes an entry stays.
        expiry_time["expiryTime"]: Duration as Minutes = Duration::from_secs(15 * 60),
    }
}

section! {
    /// Tokens for trying APIs out, at /testkey.
    pub struct JwtIssuer {
        /// Issue such tokens. Turn it off in production.
        enabled["enabled"]: bool = true,
        /// The `iss` claim.
        issuer["issuer"]: String = TEST_KEY_ISSUER.to_owned(),
        /// base64 or base64url.
        encoding["encoding"]: String = "base64".to_owned(),
        /// Prefix of the claims.
        claim_dialect["claimDialect"]: String,
        /// Algorithm of the signature.
        signing_algorithm["signingAlgorithm"]: String = "SHA256withRSA".to_owned(),
        /// Certificate of the signing key, a PEM file.
        public_certificate_path["publicCertificatePath"]: PathBuf = OWN_TRUSTED_CERTIFICATE.into(),
        /// Signing key, a PEM file.
        private_key_path["privateKeyPath"]: PathBuf = KEY.into(),
        /// Seconds a token is valid.
        validity_period["validityPeriod"]: Duration as Seconds = Duration::from_secs(3600),
        /// Who may ask for such tokens.
        jwt_users["jwtUser"]: Vec<User> =
            vec![User { username: "admin".to_owned(), password: Secret::new("$env{enforcer_admin_pwd}") }],
    }
}
