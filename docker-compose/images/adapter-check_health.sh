#!/bin/sh
# What the probes of the original's manifests run. There is no shell in the image: the adapter itself reads this file.
ADAPTER_XDS_PORT="${ADAPTER_XDS_PORT:-18000}"
ADAPTER_SERVER_NAME="${ADAPTER_SERVER_NAME:-adapter}"
grpc_health_probe -addr "127.0.0.1:${ADAPTER_XDS_PORT}" -connect-timeout=3s -rpc-timeout=3s -tls \
    -tls-server-name "${ADAPTER_SERVER_NAME}" \
    -tls-ca-cert "${ADAPTER_PUBLIC_CERT_PATH}" \
    -tls-client-cert "${ADAPTER_PUBLIC_CERT_PATH}" \
    -tls-client-key "${ADAPTER_PRIVATE_KEY_PATH}"
