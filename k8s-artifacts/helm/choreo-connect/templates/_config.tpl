{{/* config.toml of the adapter. What is not here has the default that conf/config.toml.template tells. */}}
{{- define "choreo-connect.config" -}}
{{- $router := .env.runtime.router -}}
{{- $enforcer := .env.runtime.enforcer.security -}}
{{- $apim := .Values.wso2.apim.controlPlane -}}
{{- $host := $router.ingress.hostname -}}
{{- $security := "/home/wso2/security" -}}
[adapter.server]
enabled = {{ ternary "true" "false" (eq "true" (include "choreo-connect.restApi" .)) }}
port = "9843"
tokenPrivateKeyPath = "{{ $security }}/keystore/mg.key"

[[adapter.server.users]]
username = "admin"
password = "$env{adapter_admin_pwd}"

[[adapter.vhostMapping]]
environment = {{ .env.label | toJson }}
vhost = {{ $host | toJson }}

[adapter.keystore]
keyPath = "{{ $security }}/keystore/mg.key"
certPath = "{{ $security }}/keystore/mg.pem"

[adapter.truststore]
location = "{{ $security }}/truststore"

[router]
listenerPort = 9090
securedListenerPort = 9095
systemHost = {{ $host | toJson }}
useRemoteAddress = false

# Read by the adapter, which sends the pair to the router.
[router.keystore]
{{- $folder := ternary "listener" "keystore" (not (empty $router.security.listenerKeystore.key)) }}
keyPath = "{{ $security }}/{{ $folder }}/mg.key"
certPath = "{{ $security }}/{{ $folder }}/mg.pem"

[router.upstream.tls]
minimumProtocolVersion = "TLS1_2"
maximumProtocolVersion = "TLS1_3"
trustedCertPath = "/etc/ssl/certs/ca-certificates.crt"
verifyHostName = true
disableSslVerification = false

[router.downstream.tls]
minimumProtocolVersion = "TLS1_2"
maximumProtocolVersion = "TLS1_3"

[enforcer.jwtIssuer]
enabled = {{ $enforcer.testTokenIssuer.enabled }}
issuer = {{ printf "https://%s/testkey" $host | toJson }}
publicCertificatePath = "{{ $security }}/keystore/mg.pem"
privateKeyPath = "{{ $security }}/keystore/mg.key"

[[enforcer.jwtIssuer.jwtUser]]
username = "admin"
password = "$env{enforcer_admin_pwd}"
{{- if not (or $enforcer.testTokenIssuer.enabled (include "choreo-connect.managerIssuers" .)) }}

# Without this line the built-in list would hold, which takes test tokens.
[enforcer.security]
tokenService = []
{{- end }}
{{- if include "choreo-connect.managerIssuers" . }}

[[enforcer.security.tokenService]]
name = "Resident Key Manager"
issuer = {{ printf "https://%s/oauth2/token" $apim.hostName | toJson }}
certificateAlias = "wso2carbon"
jwksURL = ""
validateSubscription = {{ ternary "true" "false" (eq "true" (include "choreo-connect.apim" .)) }}
consumerKeyClaim = "azp"
certificateFilePath = "{{ $security }}/truststore/wso2carbon.pem"
{{- end }}
{{- if $enforcer.testTokenIssuer.enabled }}

[[enforcer.security.tokenService]]
name = "MGW"
issuer = {{ printf "https://%s/testkey" $host | toJson }}
certificateAlias = "mgw"
jwksURL = ""
validateSubscription = false
consumerKeyClaim = ""
certificateFilePath = "{{ $security }}/keystore/mg.pem"
{{- end }}
{{- if include "choreo-connect.managerIssuers" . }}

[[enforcer.security.tokenService]]
name = "APIM Publisher"
issuer = {{ printf "https://%s/publisher" $apim.hostName | toJson }}
certificateAlias = "publisher_certificate_alias"
jwksURL = ""
validateSubscription = true
consumerKeyClaim = ""
certificateFilePath = "{{ $security }}/truststore/wso2carbon.pem"
{{- end }}
{{- if $enforcer.backendJWT.enabled }}

[enforcer.jwtGenerator]
enabled = true

[[enforcer.jwtGenerator.keypair]]
publicCertificatePath = "{{ $security }}/backend-jwt/backend-jwt.pem"
privateKeyPath = "{{ $security }}/backend-jwt/backend-jwt.key"
useForSigning = true
{{- end }}
{{- with .Values.wso2.deployment.redis }}
{{- if .enabled }}

[enforcer.throttling.store]
type = "redis"
url = {{ toJson .url }}
username = {{ toJson .username }}
{{- if .passwordSecret }}
password = "$env{limits_redis_pwd}"
{{- end }}
mode = {{ toJson .mode }}
onFailure = {{ toJson .onFailure }}
{{- end }}
{{- end }}
{{- if include "choreo-connect.apim" . }}
{{- $brokers := splitList "," (include "choreo-connect.eventListeners" .) }}

[enforcer.throttling]
enableGlobalEventPublishing = true
{{- $list := list }}
{{- range $brokers }}{{ $list = append $list (printf "tcp://%s:5672" .) }}{{ end }}
jmsConnectionProviderURL = {{ printf "amqp://admin:$env{tm_admin_pwd}@carbon/carbon?brokerlist='%s'" (join ";" $list) | toJson }}

[enforcer.throttling.publisher]
username = "admin"
password = "$env{tm_admin_pwd}"
{{- range splitList "," (include "choreo-connect.trafficManagers" .) }}

[[enforcer.throttling.publisher.URLGroup]]
receiverURLs = [{{ printf "tcp://%s:9611" . | toJson }}]
authURLs = [{{ printf "ssl://%s:9711" . | toJson }}]
{{- end }}

[controlPlane]
enabled = true
serviceURL = {{ printf "https://%s:9443/" $apim.serviceName | toJson }}
username = "admin"
password = "$env{cp_admin_pwd}"
environmentLabels = [{{ .env.label | toJson }}]
skipSSLVerification = {{ $apim.skipSSLVerification }}

[controlPlane.brokerConnectionParameters]
eventListeningEndpoints = [
{{- range $brokers }}
  {{ printf "amqp://admin:$env{cp_admin_pwd}@%s:5672?retries='10'&connectdelay='30'" . | toRawJson }},
{{- end }}
]
{{- end }}

[analytics]
enabled = {{ .Values.wso2.choreoAnalytics.enabled }}
{{- end -}}

{{/* "true" when tokens of an API Manager are taken: with one as control plane, or where its certificate is mounted. */}}
{{- define "choreo-connect.managerIssuers" -}}
{{- $mounted := "" -}}
{{- range .env.runtime.enforcer.security.truststore -}}
{{- if eq (toString .mountAs) "wso2carbon.pem" }}{{ $mounted = "true" }}{{ end -}}
{{- end -}}
{{- if or $mounted (include "choreo-connect.apim" .) }}true{{ end -}}
{{- end -}}

{{/* log_config.toml of the adapter. */}}
{{- define "choreo-connect.logConfig" -}}
logfile = "logs/adapter.log"
logLevel = "INFO"
LogFormat = "TEXT"

[rotation]
MaxSize = 10
MaxBackups = 3
MaxAge = 2
Compress = true

# One line for every request, on the router's standard output.
[accessLogs]
enable = false
logfile = "/dev/stdout"

[wireLogs]
enable = false
include = ["Body", "Headers", "Trailers"]
{{- end -}}

{{/* What the values ask for, or the chart's: (list CONTEXT TEXT "helper"). */}}
{{- define "choreo-connect.file" -}}
{{- $c := index . 0 -}}
{{- if index . 1 -}}
{{- tpl (index . 1) $c -}}
{{- else -}}
{{- include (index . 2) $c -}}
{{- end -}}
{{- end -}}
