//! What is deployed.

/// Most of what the cases call.
pub(crate) const DEFINITION: &str = r#"
openapi: 3.0.3
info: { title: Shop, version: '1.0' }
x-wso2-basePath: /shop/1.0
x-wso2-cors:
  corsConfigurationEnabled: true
  accessControlAllowOrigins: [ 'https://shop.example' ]
  accessControlAllowHeaders: [ authorization ]
  accessControlAllowMethods: [ GET, POST ]
  accessControlExposeHeaders: [ x-total ]
  accessControlAllowCredentials: true
servers: [ { url: 'UPSTREAM/base' } ]
components:
  securitySchemes:
    default: { type: oauth2, flows: { implicit: { authorizationUrl: 'https://localhost', scopes: { admin: all } } } }
security: [ { default: [] } ]
paths:
  /items:
    post: { responses: {} }
  /items/{id}:
    get: { responses: {} }
  /pair/{a}-{b}:
    get: { responses: {} }
  /head:
    head: { responses: {} }
  /scoped:
    get: { security: [ { default: [ admin ] } ], responses: {} }
  /open:
    get: { x-wso2-disable-security: true, responses: {} }
  /own:
    x-wso2-production-endpoints: { urls: [ 'UPSTREAM/other' ], type: load_balance }
    get: { responses: {} }
  /down:
    x-wso2-production-endpoints: { urls: [ 'http://127.0.0.1:1/' ], type: load_balance }
    get: { responses: {} }
  /raw/{id}:
    x-wso2-production-endpoints: { urls: [ 'http://SCRIPTED/' ], type: load_balance }
    get: { responses: {} }
  /changed/{id}:
    x-trireme-headers: &changes
      request:
        add: { x-added: [ '50%', '%PROTOCOL%' ] }
        set: { x-set: one }
        setIfAbsent: { x-absent: one, x-empty: '' }
        setIfPresent: { x-present: one }
        remove: [ x-removed, user-agent ]
      response:
        add: { x-served-by: [ a, b ] }
        set: { x-set: '100%' }
        setIfAbsent: { content-type: text/never, x-absent: one }
        setIfPresent: { x-never: one, x-present: one }
        remove: [ x-removed ]
    x-wso2-production-endpoints: { urls: [ 'UPSTREAM/changed' ], type: load_balance }
    get: { responses: {} }
  /changed-down:
    x-trireme-headers: *changes
    x-wso2-production-endpoints: { urls: [ 'http://127.0.0.1:1/' ], type: load_balance }
    get: { responses: {} }
  /slow:
    x-wso2-production-endpoints:
      urls: [ 'SLOW/' ]
      type: load_balance
      advanceEndpointConfig: { timeoutInMillis: 200 }
    get: { responses: {} }
"#;

/// An API of a default version; the definition names one without it.
pub(crate) const PLAIN: [(&str, &str); 2] = [
    (
        "api.yaml",
        "type: api\nversion: v4.2.0\ndata:\n  name: Plain\n  version: '2.0'\n  context: /plain\n  type: HTTP\n  lifeCycleStatus: PUBLISHED\n  securityScheme: [ oauth2 ]\n  endpointConfig:\n    endpoint_type: http\n    production_endpoints: { url: 'UPSTREAM/base' }\n  isDefaultVersion: true\n",
    ),
    (
        "Definitions/swagger.yaml",
        "openapi: 3.0.3\ninfo: { title: Plain, version: '2.0' }\nx-wso2-allow-ambiguous-path: [ encoded_slash, encoded_backslash, \
         double_encoding, empty_segment ]\npaths: { '/items/{id}': { get: { responses: {} } }, '/all/*': { get: { responses: {} } } }\n",
    ),
];

/// An API that has a sandbox and nothing else.
pub(crate) const SAND: &str = r#"
openapi: 3.0.3
info: { title: Sand, version: '1.0' }
x-wso2-basePath: /sand/1.0
x-wso2-sandbox-endpoints: { urls: [ 'UPSTREAM/sand' ], type: load_balance }
paths: { '/items/{id}': { get: { responses: {} } } }
"#;

/// An API of a default version with all paths, whose endpoint has none.
pub(crate) const BARE: [(&str, &str); 2] = [
    (
        "api.yaml",
        "type: api\nversion: v4.2.0\ndata:\n  name: Bare\n  version: '1.0'\n  context: /bare\n  type: HTTP\n  lifeCycleStatus: PUBLISHED\n  securityScheme: [ oauth2 ]\n  endpointConfig:\n    endpoint_type: http\n    production_endpoints: { url: 'UPSTREAM/' }\n  isDefaultVersion: true\n",
    ),
    (
        "Definitions/swagger.yaml",
        "openapi: 3.0.3\ninfo: { title: Bare, version: '1.0' }\npaths: { '/*': { get: { responses: {} } } }\n",
    ),
];

/// An API whose base path all others lie under.
pub(crate) const ROOT: &str = r#"
openapi: 3.0.3
info: { title: Root, version: '1.0' }
x-wso2-basePath: /
servers: [ { url: 'UPSTREAM/' } ]
paths:
  /*:
    get: { responses: {} }
    post: { responses: {} }
"#;
