#!/bin/sh
# What the probes of the original's manifests run. There is no shell in the image: the enforcer itself reads this file.
ENFORCER_PORT="${ENFORCER_PORT:-8081}"
ENFORCER_SERVER_NAME="${ENFORCER_SERVER_NAME:-enforcer}"
grpc_health_probe -addr "127.0.0.1:${ENFORCER_PORT}" -connect-timeout=3s -rpc-timeout=3s -tls \
    -tls-server-name "${ENFORCER_SERVER_NAME}" \
    -tls-ca-cert "${ENFORCER_PUBLIC_CERT_PATH}" \
    -tls-client-cert "${ENFORCER_PUBLIC_CERT_PATH}" \
    -tls-client-key "${ENFORCER_PRIVATE_KEY_PATH}"
