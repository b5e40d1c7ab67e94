{{/* Name of the chart in labels. */}}
{{- define "choreo-connect.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of the release's objects. */}}
{{- define "choreo-connect.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of an object: (list CONTEXT "suffix"). The suffix, and the environment before it, are kept whole. */}}
{{- define "choreo-connect.object" -}}
{{- $c := index . 0 -}}
{{- $suffix := index . 1 -}}
{{- if $c.env.name -}}
{{- $suffix = printf "%s-%s" $c.env.name $suffix -}}
{{- end -}}
{{- $room := int (sub 62 (len $suffix)) -}}
{{- printf "%s-%s" (include "choreo-connect.fullname" $c | trunc $room | trimSuffix "-") $suffix -}}
{{- end -}}

{{/* Name of an object that all environments share. */}}
{{- define "choreo-connect.shared" -}}
{{- include "choreo-connect.object" (list (dict "env" dict "Chart" (index . 0).Chart "Release" (index . 0).Release "Values" (index . 0).Values) (index . 1)) -}}
{{- end -}}

{{/* Gives a map the keys that somebody set to null: (list MAP "key" VALUE …). */}}
{{- define "choreo-connect.complete" -}}
{{- $map := index . 0 -}}
{{- $rest := rest . -}}
{{- range $at, $key := $rest -}}
{{- if and (eq 0 (mod $at 2)) (not (get $map $key)) -}}
{{- $_ := set $map $key (index $rest (add1 $at | int)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Puts the contexts of the environments into `list` of the argument, {root, list}. A context is the root's with `env`: {name, label,
adapter, runtime}, the values of the environment.
*/}}
{{- define "choreo-connect.environments" -}}
{{- $root := .root -}}
{{- $d := $root.Values.wso2.deployment -}}
{{- $entries := default (list (dict "name" "" "labelName" $d.labelName)) $d.gatewayEnvironments -}}
{{- $list := list -}}
{{- range $entries -}}
{{- $adapter := mergeOverwrite (deepCopy $d.adapter) (deepCopy (default dict .adapter)) -}}
{{- $runtime := mergeOverwrite (deepCopy $d.gatewayRuntime) (deepCopy (default dict .gatewayRuntime)) -}}
{{- include "choreo-connect.complete" (list $adapter "envOverride" list) -}}
{{- include "choreo-connect.complete" (list $adapter.security "keystore" dict "truststore" list "consul" dict) -}}
{{- include "choreo-connect.complete" (list $runtime.enforcer "envOverride" list) -}}
{{- include "choreo-connect.complete" (list $runtime.enforcer.security "keystore" dict "truststore" list) -}}
{{- include "choreo-connect.complete" (list $runtime.enforcer.security.backendJWT "keystore" dict) -}}
{{- include "choreo-connect.complete" (list $runtime.router "envOverride" list) -}}
{{- include "choreo-connect.complete" (list $runtime.router.security "keystore" dict "listenerKeystore" dict "backendCaCerts" dict) -}}
{{- $env := dict "name" .name "label" (default .name .labelName) "adapter" $adapter "runtime" $runtime -}}
{{- $list = append $list (dict "env" $env "Values" $root.Values "Chart" $root.Chart "Release" $root.Release "Capabilities" $root.Capabilities "Files" $root.Files "Template" $root.Template) -}}
{{- end -}}
{{- $_ := set . "list" $list -}}
{{- end -}}

{{/* Labels that select the pods of a component: (list CONTEXT "component"). */}}
{{- define "choreo-connect.selector" -}}
{{- $c := index . 0 -}}
app.kubernetes.io/name: {{ include "choreo-connect.name" $c | quote }}
app.kubernetes.io/instance: {{ $c.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- if $c.env.name }}
gateway-environment: {{ $c.env.name | quote }}
{{- end }}
{{- end -}}

{{/* Labels of an object: (list CONTEXT "component"). */}}
{{- define "choreo-connect.labels" -}}
{{- $c := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $c.Chart.Name $c.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "choreo-connect.selector" . }}
app.kubernetes.io/version: {{ $c.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $c.Release.Service }}
{{- end -}}

{{- define "choreo-connect.serviceAccount" -}}
{{- $a := .Values.kubernetes.serviceAccount -}}
{{- if $a.create -}}
{{- default (include "choreo-connect.fullname" .) $a.name -}}
{{- else -}}
{{- default "default" $a.name -}}
{{- end -}}
{{- end -}}

{{/* Registry of the images, if any: (list CONTEXT IMAGE). */}}
{{- define "choreo-connect.registry" -}}
{{- $v := (index . 0).Values.wso2 -}}
{{- $usual := ternary "" "docker.wso2.com" (empty $v.subscription.username) -}}
{{- (index . 1).dockerRegistry | default $v.deployment.dockerRegistry | default $usual -}}
{{- end -}}

{{/* Image of a container: (list CONTEXT IMAGE), IMAGE with dockerRegistry, imageName and imageTag. */}}
{{- define "choreo-connect.image" -}}
{{- $c := index . 0 -}}
{{- $i := index . 1 -}}
{{- $registry := include "choreo-connect.registry" . -}}
{{- $tag := default $c.Chart.AppVersion $i.imageTag -}}
{{- printf "%s%s%s" $i.imageName (ternary "@" ":" (hasPrefix "sha256:" $tag)) $tag | printf "%s%s" (ternary "" (printf "%s/" $registry) (empty $registry)) -}}
{{- end -}}

{{- define "choreo-connect.pullSecrets" -}}
{{- $names := list -}}
{{- range .Values.wso2.deployment.imagePullSecrets -}}
{{- if kindIs "string" . }}{{ $names = append $names . }}{{ else }}{{ $names = append $names .name }}{{ end -}}
{{- end -}}
{{- if .Values.wso2.subscription.username -}}
{{- $names = append $names (include "choreo-connect.shared" (list . "wso2-subscription")) -}}
{{- end -}}
{{- range $names }}
- name: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* A text for TOML, or a number or boolean as text: what toYaml prints of numbers has no exponent. */}}
{{- define "choreo-connect.text" -}}
{{- if kindIs "string" . -}}
{{- toJson . -}}
{{- else -}}
{{- toYaml . | trim | toJson -}}
{{- end -}}
{{- end -}}

{{/* Variables of a container: (list DEFAULTS OVERRIDES). An override takes the place of a default. */}}
{{- define "choreo-connect.variables" -}}
{{- $taken := dict -}}
{{- $own := default list (index . 1) -}}
{{- range $own -}}
{{- $_ := set $taken .name true -}}
{{- end -}}
{{- range concat (index . 0) $own }}
{{- if or (not (hasKey $taken .name)) (not .default) }}
- name: {{ .name | quote }}
  {{- if hasKey . "valueFrom" }}
  valueFrom: {{- toYaml .valueFrom | nindent 4 }}
  {{- else }}
  value: {{ include "choreo-connect.text" .value }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Whether somebody sets a variable: (list OVERRIDES NAME); "true" or nothing. */}}
{{- define "choreo-connect.isSet" -}}
{{- $name := index . 1 -}}
{{- range index . 0 -}}
{{- if eq .name $name }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* "true" in the mode APIM_AS_CP. */}}
{{- define "choreo-connect.apim" -}}
{{- if eq .Values.wso2.deployment.mode "APIM_AS_CP" }}true{{ end -}}
{{- end -}}

{{/* "true" when the adapter has its REST API. */}}
{{- define "choreo-connect.restApi" -}}
{{- $enabled := toString .env.adapter.security.adapterRestService.enabled -}}
{{- if or (eq $enabled "true") (and (eq $enabled "default") (not (include "choreo-connect.apim" .))) }}true{{ end -}}
{{- end -}}

{{- define "choreo-connect.adapterIngress" -}}
{{- if and (not (include "choreo-connect.apim" .)) (include "choreo-connect.restApi" .) }}true{{ end -}}
{{- end -}}

{{/* Service names of the event hub and of the traffic managers, by commas. */}}
{{- define "choreo-connect.eventListeners" -}}
{{- $a := .Values.wso2.apim -}}
{{- join "," (default (list $a.controlPlane.serviceName) $a.controlPlane.eventListeners) -}}
{{- end -}}
{{- define "choreo-connect.trafficManagers" -}}
{{- default (include "choreo-connect.eventListeners" .) (join "," .Values.wso2.apim.trafficManagers) -}}
{{- end -}}

{{- define "choreo-connect.seconds" -}}
{{- /* The sleep action, which needs no program in the image, is on from Kubernetes 1.30. */ -}}
{{- $c := index . 0 -}}
{{- $seconds := int (index . 1) -}}
{{- if and $seconds (semverCompare ">=1.30.0-0" $c.Capabilities.KubeVersion.Version) }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ $seconds }}
{{- end }}
{{- end -}}

{{/* Timings of a probe. */}}
{{- define "choreo-connect.timings" -}}
{{- range $key, $value := . }}
{{ $key }}: {{ int $value }}
{{- end }}
{{- end -}}

{{/* Spread constraints, with the component's own pods where nothing is said: (list CONTEXT "component" CONSTRAINTS). */}}
{{- define "choreo-connect.spread" -}}
{{- $selector := include "choreo-connect.selector" (list (index . 0) (index . 1)) | fromYaml -}}
{{- range index . 2 }}
- {{- toYaml (merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $selector))) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What both deployments share of a pod: (list CONTEXT "component" VALUES CONSTRAINTS). */}}
{{- define "choreo-connect.pod" -}}
{{- $c := index . 0 -}}
{{- $v := index . 2 -}}
serviceAccountName: {{ include "choreo-connect.serviceAccount" $c | quote }}
automountServiceAccountToken: {{ $v.automountServiceAccountToken }}
# Variables of services would be read as settings: CC_… overrides the configuration.
enableServiceLinks: false
{{- with include "choreo-connect.pullSecrets" $c }}
imagePullSecrets: {{- . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml $v.podSecurityContext | nindent 2 }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $v.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "choreo-connect.spread" (list $c (index . 1) (index . 3)) }}
topologySpreadConstraints: {{- . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Pod labels of a component, those of the user included: (list CONTEXT "component" VALUES). */}}
{{- define "choreo-connect.podLabels" -}}
{{- $own := include "choreo-connect.labels" (list (index . 0) (index . 1)) | fromYaml -}}
{{- toYaml (merge $own (deepCopy (default dict (index . 2).podLabels))) -}}
{{- end -}}
