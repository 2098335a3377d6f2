{{/*
What the chart decides, with what the values decide laid over it. The context of every template here is that of a chart
that has pgweir-sidecar as a dependency with `alias: pgweir`.
*/}}

{{/* All ends from one value: {drain, settle, grace}, in seconds. settle: until endpoints have heard of the end. */}}
{{- define "pgweir.times" -}}
{{- $drain := int .Values.pgweir.drainSeconds -}}
{{- $settle := max 1 (min 10 (div $drain 5)) | int -}}
drain: {{ $drain }}
settle: {{ $settle }}
grace: {{ add $drain (mul 2 $settle) 5 }}
{{- end }}

{{/* For a pod's terminationGracePeriodSeconds: preStop + min_sigterm_delay_ms + drain_ms, and 5 s to spare. */}}
{{- define "pgweir.terminationGracePeriodSeconds" -}}
{{ (include "pgweir.times" . | fromYaml).grace | int }}
{{- end }}

{{- define "pgweir.fullname" -}}
{{- $name := .Values.pgweir.name -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "pgweir.labels" -}}
app.kubernetes.io/name: {{ .Values.pgweir.name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* include "pgweir.defaults" (list $ "sidecar"|"gateway") */}}
{{- define "pgweir.defaults" -}}
{{- $root := index . 0 -}}
{{- $kind := index . 1 -}}
{{- $secrets := $root.Values.pgweir.secrets -}}
{{- $times := include "pgweir.times" $root | fromYaml -}}
listen:
  host: {{ ternary "127.0.0.1" "0.0.0.0" (eq $kind "sidecar") }}
  port: 6432
{{- with $secrets.tls }}
  tls:
    mode: allow
    certificate_file: /run/secrets/pgweir/tls/tls.crt
    key_file: /run/secrets/pgweir/tls/tls.key
{{- end }}
{{- with $secrets.targetCa }}
targets:
  tls:
    mode: verify-full
    ca_file: /run/secrets/pgweir/target-ca/ca.crt
{{- end }}
limits:
  drain_ms: {{ mul (int $times.drain) 1000 }}
  min_sigterm_delay_ms: {{ mul (int $times.settle) (ternary 0 1000 (eq $kind "sidecar")) }}
admin:
  host: 127.0.0.1
  port: 9091
{{- with $secrets.adminToken }}
  token_file: /run/secrets/pgweir/admin/token
{{- end }}
health:
  host: 0.0.0.0
  port: 9090
rules:
  file: rules.yaml
  on_invalid_start: last_good
state_directory: /var/lib/pgweir
{{- end }}

{{- define "pgweir.settings" -}}
{{- $root := index . 0 -}}
{{- $merged := mergeOverwrite (include "pgweir.defaults" . | fromYaml) (deepCopy $root.Values.pgweir.settings) -}}
{{- $times := include "pgweir.times" $root | fromYaml -}}
{{- $end := add (int $merged.limits.drain_ms) (int $merged.limits.min_sigterm_delay_ms) (mul (int $times.settle) 1000) -}}
{{- if ge $end (mul (int $times.grace) 1000) -}}
{{- fail (printf "pgweir.settings.limits: preStop, min_sigterm_delay_ms and drain_ms take %d ms together, the pod has %d s: set pgweir.drainSeconds instead" $end (int $times.grace)) -}}
{{- end -}}
{{- if and (hasKey $root.Values.pgweir.settings "traffic_control") -}}
{{- fail "pgweir.settings.traffic_control: rules stand under pgweir.rules" -}}
{{- end -}}
{{ toYaml $merged }}
{{- end }}
