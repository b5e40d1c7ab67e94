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
{{- $full := include "choreo-connect.fullname" . -}}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $full) -}}
{{- fail (printf "fullnameOverride: %s cannot begin the names of Services, which are small letters, digits and inner hyphens and begin with a letter; set one that can" $full) -}}
{{- end -}}
{{- include "choreo-connect.validateVolumes" . -}}
{{- $cm := .Values.kubernetes.certManager -}}
{{- if le (include "choreo-connect.durationOf" $cm.duration | int) (include "choreo-connect.durationOf" $cm.renewBefore | int) -}}
{{- fail (printf "kubernetes.certManager.renewBefore: %s is not shorter than duration, %s" $cm.renewBefore $cm.duration) -}}
{{- end -}}
{{- $hosts := dict -}}
{{- $names := dict -}}
{{- $labels := dict -}}
{{- range $all.list -}}
{{- $c := . -}}
{{- $where := ternary (printf "environment %s: " .env.name) "" (not (empty .env.name)) -}}
{{- if hasKey $names (toString .env.name) -}}
{{- fail (printf "wso2.deployment.gatewayEnvironments: two are called %s" .env.name) -}}
{{- end -}}
{{- $_ := set $names (toString .env.name) true -}}
{{- if hasKey $labels (toString .env.label) -}}
{{- fail (printf "%slabelName: %s is another environment's already" $where .env.label) -}}
{{- end -}}
{{- $_ := set $labels (toString .env.label) true -}}
{{- include "choreo-connect.validateVariables" (list (printf "%sadapter.envOverride" $where) .env.adapter.envOverride) -}}
{{- include "choreo-connect.validateVariables" (list (printf "%sgatewayRuntime.enforcer.envOverride" $where) .env.runtime.enforcer.envOverride) -}}
{{- include "choreo-connect.validateVariables" (list (printf "%sgatewayRuntime.router.envOverride" $where) .env.runtime.router.envOverride) -}}
{{- include "choreo-connect.validateTrust" (list (printf "%sadapter.security.truststore" $where) (list "enforcer" "router") .env.adapter.security.truststore) -}}
{{- include "choreo-connect.validateTrust" (list (printf "%sgatewayRuntime.enforcer.security.truststore" $where) (list "adapter" "router") .env.runtime.enforcer.security.truststore) -}}
{{- range $container, $v := dict "enforcer" .env.runtime.enforcer "router" .env.runtime.router -}}
{{- if ge (int $v.preStopSleepSeconds) (int $c.env.runtime.terminationGracePeriodSeconds) -}}
{{- fail (printf "%sgatewayRuntime.%s.preStopSleepSeconds: leaves nothing of terminationGracePeriodSeconds, %d" $where $container (int $c.env.runtime.terminationGracePeriodSeconds)) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .env.adapter.replicaCount) 1 -}}
{{- fail (printf "%sadapter.replicaCount: what is deployed lies in one file, so there is one adapter; it is not on the path of requests" $where) -}}
{{- end -}}
{{- range include "choreo-connect.exposedHosts" . | splitList "," | compact -}}
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
{{- range $route, $v := dict "gatewayRuntime.router.httpRoute" .env.runtime.router.httpRoute "adapter.httpRoute" .env.adapter.httpRoute -}}
{{- if and $v.enabled (not $v.parentRefs) -}}
{{- fail (printf "%s%s.parentRefs: needed when it is enabled: the Gateway that the route belongs to" $where $route) -}}
{{- end -}}
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

{{/* Seconds of a duration such as 1h30m. */}}
{{- define "choreo-connect.durationOf" -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+[hms]" . -1 -}}
{{- $factor := ternary 3600 (ternary 60 1 (hasSuffix "m" .)) (hasSuffix "h" .) -}}
{{- $total = add $total (mul (regexFind "[0-9]+" . | int64) $factor) -}}
{{- end -}}
{{- $total -}}
{{- end -}}

{{/* Variables that are named twice: (list "where" OVERRIDES). */}}
{{- define "choreo-connect.validateVariables" -}}
{{- $where := index . 0 -}}
{{- $seen := dict -}}
{{- range index . 1 -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "%s: %s is there twice" $where .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}

{{/* Files of a truststore that have one name: (list "where" (list "component" …) ENTRIES). */}}
{{- define "choreo-connect.validateTrust" -}}
{{- $where := index . 0 -}}
{{- $seen := dict -}}
{{- range index . 1 -}}
{{- $_ := set $seen (printf "%s-ca-cert.pem" .) true -}}
{{- end -}}
{{- range index . 2 -}}
{{- $file := include "choreo-connect.trustFile" . -}}
{{- if hasKey $seen $file -}}
{{- fail (printf "%s: two would be the file %s; give one another mountAs" $where $file) -}}
{{- end -}}
{{- $_ := set $seen $file true -}}
{{- end -}}
{{- end -}}

{{/* Volumes of `volumeConfigs` that Kubernetes would refuse; where they are mounted, `mounts` looks at. */}}
{{- define "choreo-connect.validateVolumes" -}}
{{- $own := list "config" "keystore" "truststore" "listener" "state" "logs" "tmp" "apis" "enforcer-keystore" "enforcer-truststore" "router-keystore" "router-truststore" "backend-jwt" "backend-ca" "enforcer-state" "enforcer-logs" "enforcer-tmp" "router-state" "router-tmp" "log4j2" "dropins" "heap-profile" -}}
{{- $resources := dict -}}
{{- range .Values.wso2.deployment.volumeConfigs -}}
{{- if has .name $own -}}
{{- fail (printf "wso2.deployment.volumeConfigs: the chart has a volume called %s; choose another name" .name) -}}
{{- end -}}
{{- $resource := printf "%s %s" .resource.kind .resource.name -}}
{{- if ne $resource (get $resources .name | default $resource) -}}
{{- fail (printf "wso2.deployment.volumeConfigs: %s is %s and %s" .name (get $resources .name) $resource) -}}
{{- end -}}
{{- $_ := set $resources .name $resource -}}
{{- end -}}
{{- end -}}

{{/* "true" when an Ingress has no certificate of the user's. */}}
{{- define "choreo-connect.wantsIngressTls" -}}
{{- $router := .env.runtime.router.ingress -}}
{{- $adapter := .env.adapter.ingress -}}
{{- if or (and $router.enabled (not $router.tlsSecretName)) (and $adapter.enabled (include "choreo-connect.adapterIngress" .) (not $adapter.tlsSecretName)) }}true{{ end -}}
{{- end -}}
