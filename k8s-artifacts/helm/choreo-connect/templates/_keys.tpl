{{/*
Where keys, certificates and trust come from, in order: a secret that the values name, cert-manager, the generated secrets.

`component` is adapter, enforcer or router. A source is {secret, key}, as YAML.
*/}}

{{- define "choreo-connect.keystore" -}}
{{- $c := index . 0 -}}
{{- $owner := dict "adapter" $c.env.adapter "enforcer" $c.env.runtime.enforcer "router" $c.env.runtime.router -}}
{{- toYaml (get $owner (index . 1)).security.keystore -}}
{{- end -}}

{{/* "true" when the values name no pair: (list CONTEXT "component"). */}}
{{- define "choreo-connect.wantsPair" -}}
{{- if not (include "choreo-connect.keystore" . | fromYaml).key }}true{{ end -}}
{{- end -}}

{{/* Name of the secret that cert-manager fills: (list CONTEXT "component"). */}}
{{- define "choreo-connect.certificate" -}}
{{- include "choreo-connect.object" (list (index . 0) (printf "%s-tls" (index . 1))) -}}
{{- end -}}

{{/* Sources of a projected folder with the pair as mg.key and mg.pem: (list CONTEXT "component"). */}}
{{- define "choreo-connect.pair" -}}
{{- $c := index . 0 -}}
{{- $component := index . 1 -}}
{{- $own := include "choreo-connect.keystore" . | fromYaml -}}
{{- if $own.key }}
{{- include "choreo-connect.item" (list $own.key "mg.key") }}
{{- include "choreo-connect.item" (list $own.cert "mg.pem") }}
{{- else if $c.Values.kubernetes.certManager.enabled }}
- secret:
    name: {{ include "choreo-connect.certificate" . | quote }}
    items:
      - {key: tls.key, path: mg.key}
      - {key: tls.crt, path: mg.pem}
{{- else }}
- secret:
    name: {{ include "choreo-connect.shared" (list $c "default-keystore") }}
    items:
      - {key: {{ $component }}.key, path: mg.key}
      - {key: {{ $component }}.pem, path: mg.pem}
{{- end }}
{{- end -}}

{{/* The source by which others trust a component, under a file name: (list CONTEXT "component" "file"). */}}
{{- define "choreo-connect.trustIn" -}}
{{- $c := index . 0 -}}
{{- $component := index . 1 -}}
{{- $file := index . 2 -}}
{{- $own := include "choreo-connect.keystore" . | fromYaml -}}
{{- if $own.key }}
{{- include "choreo-connect.item" (list (default $own.cert $own.ca) $file) }}
{{- else if $c.Values.kubernetes.certManager.enabled }}
- secret:
    name: {{ include "choreo-connect.certificate" . | quote }}
    items:
      - {key: ca.crt, path: {{ $file }}}
{{- else }}
- secret:
    name: {{ include "choreo-connect.shared" (list $c "default-truststore") }}
    items:
      - {key: mg.pem, path: {{ $file }}}
{{- end }}
{{- end -}}

{{/* One file of a secret: (list {secretName, subPath} "path"). */}}
{{- define "choreo-connect.item" }}
- secret:
    name: {{ (index . 0).secretName | quote }}
    items:
      - {key: {{ (index . 0).subPath | quote }}, path: {{ index . 1 | quote }}}
{{- end -}}

{{/* File name of an entry of a truststore. */}}
{{- define "choreo-connect.trustFile" -}}
{{- default (printf "%s-%s.pem" .secretName (.subPath | replace "." "-")) .mountAs -}}
{{- end -}}

{{/* Sources of a truststore: (list CONTEXT (list "component" …) ENTRIES). */}}
{{- define "choreo-connect.truststore" -}}
{{- $c := index . 0 -}}
{{- range index . 1 }}
{{- include "choreo-connect.trustIn" (list $c . (printf "%s-ca-cert.pem" .)) }}
{{- end }}
{{- range index . 2 }}
{{- include "choreo-connect.item" (list . (include "choreo-connect.trustFile" .)) }}
{{- end }}
{{- end -}}

{{/* Names in the certificate of a component, by commas: (list CONTEXT "component"). */}}
{{- define "choreo-connect.names" -}}
{{- $c := index . 0 -}}
{{- $component := index . 1 -}}
{{- $names := list -}}
{{- if eq $component "adapter" -}}
{{- $service := include "choreo-connect.object" (list $c "adapter") -}}
{{- $names = list $c.env.adapter.security.sslHostname $service (printf "%s.%s" $service $c.Release.Namespace) (printf "%s.%s.svc" $service $c.Release.Namespace) $c.env.adapter.ingress.hostname -}}
{{- /* Without a pair of its own, the HTTPS listener has the adapter's. */ -}}
{{- if not $c.env.runtime.router.security.listenerKeystore.key -}}
{{- $router := include "choreo-connect.object" (list $c "router") -}}
{{- $names = concat $names (list $router (printf "%s.%s" $router $c.Release.Namespace) (printf "%s.%s.svc" $router $c.Release.Namespace) $c.env.runtime.router.ingress.hostname) -}}
{{- end -}}
{{- else if eq $component "enforcer" -}}
{{- $names = list $c.env.runtime.enforcer.security.sslHostname -}}
{{- else -}}
{{- $names = list "router" -}}
{{- end -}}
{{- append $names "localhost" | uniq | join "," -}}
{{- end -}}

{{/* Host names of the Ingresses and routes of one environment, by commas. */}}
{{- define "choreo-connect.hosts" -}}
{{- $hosts := list .env.runtime.router.ingress.hostname -}}
{{- if include "choreo-connect.adapterIngress" . -}}
{{- $hosts = append $hosts .env.adapter.ingress.hostname -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end -}}

{{/* Those of them that are exposed. */}}
{{- define "choreo-connect.exposedHosts" -}}
{{- $router := .env.runtime.router -}}
{{- $hosts := list -}}
{{- if $router.ingress.enabled -}}
{{- $hosts = append $hosts $router.ingress.hostname -}}
{{- end -}}
{{- if $router.httpRoute.enabled -}}
{{- $hosts = concat $hosts (default (list $router.ingress.hostname) $router.httpRoute.hostnames) -}}
{{- end -}}
{{- $adapter := .env.adapter -}}
{{- $exposed := or $adapter.ingress.enabled $adapter.httpRoute.enabled -}}
{{- $hosts = $hosts | uniq -}}
{{- if and $exposed (include "choreo-connect.adapterIngress" .) -}}
{{- $hosts = append $hosts $adapter.ingress.hostname -}}
{{- end -}}
{{- join "," $hosts -}}
{{- end -}}
