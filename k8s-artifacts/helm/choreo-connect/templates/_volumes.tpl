{{/* Projected folder: (list "name" SOURCES). Keys are for the containers' group only: 288 is 0440. */}}
{{- define "choreo-connect.projected" }}
- name: {{ index . 0 }}
  projected:
    defaultMode: 288
    sources:
      {{- index . 1 | trim | nindent 6 }}
{{- end -}}

{{- define "choreo-connect.emptyDirs" -}}
{{- range . }}
- name: {{ . }}
  emptyDir: {}
{{- end }}
{{- end -}}

{{/* Volumes of `volumeConfigs` for some containers: (list CONTEXT (list "adapter" …)). */}}
{{- define "choreo-connect.configVolumes" -}}
{{- $containers := index . 1 -}}
{{- $seen := dict -}}
{{- range (index . 0).Values.wso2.deployment.volumeConfigs }}
{{- if and (has (trimPrefix "choreo-connect-" .mount.container) $containers) (not (hasKey $seen .name)) }}
{{- $_ := set $seen .name true }}
- name: {{ .name | quote }}
  {{- if eq .resource.kind "Secret" }}
  secret:
    secretName: {{ .resource.name | quote }}
  {{- else }}
  configMap:
    name: {{ .resource.name | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
Mounts of a container: (list CONTEXT "adapter" MOUNTS), those of the chart and then those of `volumeConfigs`.

A mount of the chart is {name, mountPath, writable, key}: `key` is that of the values which say where. Two at one path are
refused, as Kubernetes does.
*/}}
{{- define "choreo-connect.mounts" -}}
{{- $c := index . 0 -}}
{{- $container := index . 1 -}}
{{- $where := ternary (printf "environment %s: " $c.env.name) "" (not (empty $c.env.name)) -}}
{{- $taken := dict -}}
{{- range index . 2 }}
{{- if hasKey $taken (clean .mountPath) -}}
{{- fail (printf "%s%s: %s is a folder of the chart in %s; choose another path" $where .key .mountPath $container) -}}
{{- end -}}
{{- $_ := set $taken (clean .mountPath) "a folder of the chart is" }}
- name: {{ .name }}
  mountPath: {{ .mountPath | quote }}
  {{- if not .writable }}
  readOnly: true
  {{- end }}
{{- end }}
{{- range $v := $c.Values.wso2.deployment.volumeConfigs }}
{{- if eq (trimPrefix "choreo-connect-" .mount.container) $container }}
{{- with get $taken (clean .mount.path) -}}
{{- fail (printf "wso2.deployment.volumeConfigs: %s already mounted at %s in %s; choose another path for %s" . $v.mount.path $container $v.name) -}}
{{- end -}}
{{- $_ := set $taken (clean .mount.path) "another one is" }}
- name: {{ .name | quote }}
  mountPath: {{ .mount.path | quote }}
  readOnly: {{ ternary .mount.readOnly true (hasKey .mount "readOnly") }}
  {{- with .mount.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* "true" when `volumeConfigs` mount over a folder: (list CONTEXT "adapter" "/folder"). */}}
{{- define "choreo-connect.covered" -}}
{{- $container := index . 1 -}}
{{- $folder := index . 2 -}}
{{- range (index . 0).Values.wso2.deployment.volumeConfigs -}}
{{- if and (eq (trimPrefix "choreo-connect-" .mount.container) $container) (eq (clean .mount.path) $folder) }}true{{ end -}}
{{- end -}}
{{- end -}}
