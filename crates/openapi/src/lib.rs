//! API projects and OpenAPI definitions to a typed model with diagnostics.
