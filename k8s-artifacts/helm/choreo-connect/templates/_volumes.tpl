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

{{/* Mounts of `volumeConfigs` for one container: (list CONTEXT "adapter"). */}}
{{- define "choreo-connect.configMounts" -}}
{{- $container := index . 1 -}}
{{- range (index . 0).Values.wso2.deployment.volumeConfigs }}
{{- if eq (trimPrefix "choreo-connect-" .mount.container) $container }}
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
{{- if and (eq (trimPrefix "choreo-connect-" .mount.container) $container) (eq (trimSuffix "/" .mount.path) $folder) }}true{{ end -}}
{{- end -}}
{{- end -}}
