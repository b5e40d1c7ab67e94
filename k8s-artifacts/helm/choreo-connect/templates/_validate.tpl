{{/* What the schema cannot say. */}}
{{- define "choreo-connect.validate" -}}
{{- $d := .Values.wso2.deployment -}}
{{- if and $d.redis.enabled (not $d.redis.url) -}}
{{- fail "wso2.deployment.redis.url: redis is enabled, and nothing says where it is" -}}
{{- end -}}
{{- if $d.postgresql.enabled -}}
{{- fail "wso2.deployment.postgresql.enabled: this version of the gateway has no setting for PostgreSQL; leave it off" -}}
{{- end -}}
{{- $all := dict "root" . -}}
{{- include "choreo-connect.environments" $all -}}
{{- $hosts := dict -}}
{{- $names := dict -}}
{{- range $all.list -}}
{{- $c := . -}}
{{- $where := ternary (printf "environment %s: " .env.name) "" (not (empty .env.name)) -}}
{{- if hasKey $names (toString .env.name) -}}
{{- fail (printf "wso2.deployment.gatewayEnvironments: two are called %s" .env.name) -}}
{{- end -}}
{{- $_ := set $names (toString .env.name) true -}}
{{- if gt (int .env.adapter.replicaCount) 1 -}}
{{- fail (printf "%sadapter.replicaCount: what is deployed lies in one file, so there is one adapter; it is not on the path of requests" $where) -}}
{{- end -}}
{{- range splitList "," (include "choreo-connect.hosts" .) -}}
{{- if hasKey $hosts . -}}
{{- fail (printf "%singress.hostname: %s is taken already; each environment, router and adapter, needs a name of its own" $where .) -}}
{{- end -}}
{{- $_ := set $hosts . true -}}
{{- end -}}
{{- if gt (int .env.runtime.autoscaling.minReplicas) (int .env.runtime.autoscaling.maxReplicas) -}}
{{- fail (printf "%sgatewayRuntime.autoscaling.minReplicas: greater than maxReplicas" $where) -}}
{{- end -}}
{{- if and .env.runtime.autoscaling.enabled (not .env.runtime.autoscaling.targetCPUUtilizationPercentage) (not .env.runtime.autoscaling.targetMemoryUtilizationPercentage) -}}
{{- fail (printf "%sgatewayRuntime.autoscaling: no target; set one, or enabled to false" $where) -}}
{{- end -}}
{{- $router := .env.runtime.router.httpRoute -}}
{{- if and $router.enabled (eq (int $router.targetPort) 9095) (not $router.caConfigMap) -}}
{{- fail (printf "%sgatewayRuntime.router.httpRoute.caConfigMap: port 9095 speaks TLS, and the Gateway needs to know the CA" $where) -}}
{{- end -}}
{{- if and .env.adapter.httpRoute.enabled (not .env.adapter.httpRoute.caConfigMap) -}}
{{- fail (printf "%sadapter.httpRoute.caConfigMap: the adapter speaks TLS, and the Gateway needs to know the CA" $where) -}}
{{- end -}}
{{- if and .env.runtime.enforcer.security.backendJWT.enabled (not .env.runtime.enforcer.security.backendJWT.keystore.key) -}}
{{- fail (printf "%sgatewayRuntime.enforcer.security.backendJWT.keystore: needed when it is enabled" $where) -}}
{{- end -}}
{{- if and (not $d.generateSecrets) (not $c.Values.kubernetes.certManager.enabled) -}}
{{- range list "adapter" "enforcer" "router" -}}
{{- if include "choreo-connect.wantsPair" (list $c .) -}}
{{- fail (printf "%s%s.security.keystore: needed when generateSecrets is off, or kubernetes.certManager.enabled" $where .) -}}
{{- end -}}
{{- end -}}
{{- if include "choreo-connect.wantsIngressTls" $c -}}
{{- fail (printf "%singress.tlsSecretName: needed when generateSecrets is off, or kubernetes.certManager.enabled" $where) -}}
{{- end -}}
{{- end -}}
{{- if not $d.generateSecrets -}}
{{- if and (include "choreo-connect.restApi" $c) (not (include "choreo-connect.isSet" (list .env.adapter.envOverride "adapter_admin_pwd"))) -}}
{{- fail (printf "%sadapter.envOverride: adapter_admin_pwd is needed when generateSecrets is off" $where) -}}
{{- end -}}
{{- if and .env.runtime.enforcer.security.testTokenIssuer.enabled (not (include "choreo-connect.isSet" (list .env.runtime.enforcer.envOverride "enforcer_admin_pwd"))) -}}
{{- fail (printf "%sgatewayRuntime.enforcer.envOverride: enforcer_admin_pwd is needed when generateSecrets is off" $where) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" when an Ingress has no certificate of the user's. */}}
{{- define "choreo-connect.wantsIngressTls" -}}
{{- $router := .env.runtime.router.ingress -}}
{{- $adapter := .env.adapter.ingress -}}
{{- if or (and $router.enabled (not $router.tlsSecretName)) (and $adapter.enabled (include "choreo-connect.adapterIngress" .) (not $adapter.tlsSecretName)) }}true{{ end -}}
{{- end -}}
