{{/*
The objects beside the pod: ConfigMap, and where enabled PodMonitor, PrometheusRule, dashboard.
include "pgweir.objects" (list $ "sidecar"|"gateway" (dict <labels of the pods>))
*/}}
{{- define "pgweir.objects" -}}
{{- $root := index . 0 -}}
{{- $podLabels := index . 2 -}}
{{- $values := $root.Values.pgweir -}}
{{- $monitoring := $values.monitoring -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "pgweir.fullname" $root }}
  labels:
    {{- include "pgweir.labels" $root | nindent 4 }}
data:
  pgweir.yaml: |
    {{- include "pgweir.settings" . | nindent 4 }}
{{- if not $values.existingRulesConfigMap }}
  rules.yaml: |
    {{- toYaml $values.rules | nindent 4 }}
{{- end }}
{{- if $monitoring.podMonitor.enabled }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "pgweir.fullname" $root }}
  labels:
    {{- include "pgweir.labels" $root | nindent 4 }}
    {{- with $monitoring.podMonitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- toYaml $podLabels | nindent 6 }}
  podMetricsEndpoints:
    - { port: pgweir-metrics, path: /metrics, interval: {{ $monitoring.podMonitor.interval }} }
{{- end }}
{{- if $monitoring.prometheusRule.enabled }}
---
{{ include "pgweir.prometheusRule" $root }}
{{- end }}
{{- if $monitoring.dashboard.enabled }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "pgweir.fullname" $root }}-dashboard
  labels:
    {{- include "pgweir.labels" $root | nindent 4 }}
    {{- with $monitoring.dashboard.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
data:
  pgweir.json: |
    {{- include "pgweir.dashboard" $root | nindent 4 }}
{{- end }}
{{- end }}

{{- define "pgweir.prometheusRule" -}}
{{- $rule := .Values.pgweir.monitoring.prometheusRule -}}
{{- $base := required "pgweir.monitoring.prometheusRule.runbookBaseUrl: say where you keep helm/RUNBOOKS.md" $rule.runbookBaseUrl -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "pgweir.fullname" . }}
  labels:
    {{- include "pgweir.labels" . | nindent 4 }}
    {{- with $rule.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    - name: pgweir
      rules:
        {{- range include "pgweir.alerts" . | fromYamlArray }}
        - alert: {{ .name }}
          expr: {{ .expr | quote }}
          for: {{ .for }}
          labels: { severity: {{ .severity }} }
          annotations:
            summary: {{ .summary | quote }}
            runbook_url: {{ printf "%s#%s" $base (lower .name) | quote }}
        {{- end }}
{{- end }}

{{- define "pgweir.alerts" -}}
- name: PgweirNotReady
  expr: pgweir_ready == 0
  for: 5m
  severity: critical
  summary: "{{`{{ $labels.pod }}`}} takes no new clients"
- name: PgweirTargetDown
  expr: pgweir_target_healthy == 0
  for: 2m
  severity: critical
  summary: "{{`{{ $labels.pod }}`}} cannot reach {{`{{ $labels.target }}`}}"
- name: PgweirClientsRefused
  expr: rate(pgweir_clients_refused_total[5m]) > 0
  for: 5m
  severity: warning
  summary: "{{`{{ $labels.pod }}`}} refuses connections"
- name: PgweirRulesReloadFailed
  expr: pgweir_rules_last_reload_successful == 0
  for: 5m
  severity: warning
  summary: "{{`{{ $labels.pod }}`}} was given rules that are no good and runs by the old ones"
- name: PgweirRulesDiffer
  expr: count by (namespace, job) (count by (namespace, job, version) (pgweir_rules_info)) > 1
  for: 15m
  severity: warning
  summary: "pods of {{`{{ $labels.job }}`}} have run by different rules for a quarter of an hour"
- name: PgweirEventLoopSlow
  expr: pgweir_event_loop_delay_seconds > 0.1
  for: 5m
  severity: warning
  summary: "{{`{{ $labels.pod }}`}} holds up every client by {{`{{ $value }}`}} s"
- name: PgweirUnparsed
  expr: rate(pgweir_messages_unparsed_total[15m]) / rate(pgweir_messages_judged_total[15m]) > 0.01
  for: 15m
  severity: info
  summary: "{{`{{ $labels.pod }}`}} cannot read one statement in a hundred"
- name: PgweirUnroutable
  expr: increase(pgweir_unroutable_total[15m]) > 0
  for: 15m
  severity: info
  summary: "{{`{{ $labels.pod }}`}} has statements that a rule routes and that cannot be routed"
- name: PgweirPoolExhausted
  expr: increase(pgweir_pool_wait_timeouts_total[5m]) > 0
  for: 1m
  severity: critical
  summary: "{{`{{ $labels.pod }}`}} refuses what waited in vain for a server connection to {{`{{ $labels.target }}`}}"
- name: PgweirPoolPinned
  expr: sum by (namespace, pod, target) (pgweir_server_connections{state="pinned"}) / sum by (namespace, pod, target) (pgweir_server_connections{state!="open"}) > 0.5
  for: 15m
  severity: info
  summary: "more than half of the server connections of {{`{{ $labels.pod }}`}} to {{`{{ $labels.target }}`}} are pinned to one client each"
{{- end }}

{{/* Grafana, schema version 39: two columns of panels over one Prometheus. */}}
{{- define "pgweir.dashboard" -}}
{{- $panels := list
  (list "Statements by rule" "ops" `sum by (rule, action, mode) (rate(pgweir_statements_total{pod=~"$pod"}[$__rate_interval]))` `{{rule}} {{action}} {{mode}}`)
  (list "Effects of rules (would_* in observe mode)" "ops" `sum by (rule, effect) (rate(pgweir_rule_effects_total{pod=~"$pod"}[$__rate_interval]))` `{{rule}} {{effect}}`)
  (list "Clients" "short" `sum by (state) (pgweir_client_connections{pod=~"$pod"})` `{{state}}`)
  (list "Server connections" "short" `sum by (target, state) (pgweir_server_connections{pod=~"$pod"})` `{{target}} {{state}}`)
  (list "Statement time, 99th percentile" "s" `histogram_quantile(0.99, sum by (le, target) (rate(pgweir_statement_duration_seconds_bucket{pod=~"$pod"}[$__rate_interval])))` `{{target}}`)
  (list "Time to judge, 99th percentile" "s" `histogram_quantile(0.99, sum by (le) (rate(pgweir_decision_duration_seconds_bucket{pod=~"$pod"}[$__rate_interval])))` `p99`)
  (list "Wait for a limit or a connection, 99th percentile" "s" `histogram_quantile(0.99, sum by (le, cause) (rate(pgweir_queue_wait_seconds_bucket{pod=~"$pod"}[$__rate_interval])))` `{{cause}}`)
  (list "Errors that pgweir said, by SQLSTATE" "ops" `sum by (code) (rate(pgweir_errors_total{pod=~"$pod"}[$__rate_interval]))` `{{code}}`)
  (list "Event loop delay" "s" `pgweir_event_loop_delay_seconds{pod=~"$pod"}` `{{pod}}`)
  (list "Resident memory" "bytes" `process_resident_memory_bytes{pod=~"$pod"} and on (pod) pgweir_ready` `{{pod}}`)
  (list "Active rules (version by pod)" "short" `pgweir_rules_info{pod=~"$pod"}` `{{pod}} {{version}}`)
  (list "Clients that wait for a server connection" "short" `sum by (target) (pgweir_pool_waiting_clients{pod=~"$pod"})` `{{target}}`)
  (list "Pinned server connections by reason" "short" `sum by (reason) (pgweir_pool_pins{pod=~"$pod"})` `{{reason}}`)
  (list "Statements by connection, shared or pinned" "ops" `sum by (connection) (rate(pgweir_pool_statements_total{pod=~"$pod"}[$__rate_interval]))` `{{connection}}`)
  (list "Server connections handed over" "ops" `sum by (target) (rate(pgweir_pool_handovers_total{pod=~"$pod"}[$__rate_interval]))` `{{target}}`)
  (list "Bytes" "Bps" `sum(rate(pgweir_client_bytes_total{pod=~"$pod"}[$__rate_interval])) + sum(rate(pgweir_server_bytes_total{pod=~"$pod"}[$__rate_interval]))` `both ways`)
-}}
{{- $source := dict "type" "prometheus" "uid" "${datasource}" -}}
{{- $made := list -}}
{{- range $index, $panel := $panels -}}
{{- $made = append $made (dict
  "id" (add1 $index) "type" "timeseries" "title" (index $panel 0) "datasource" $source
  "gridPos" (dict "x" (mul 12 (mod $index 2)) "y" (mul 8 (div $index 2)) "w" 12 "h" 8)
  "fieldConfig" (dict "defaults" (dict "unit" (index $panel 1)) "overrides" list)
  "targets" (list (dict "refId" "A" "datasource" $source "expr" (index $panel 2) "legendFormat" (index $panel 3)))
) -}}
{{- end -}}
{{- dict
  "title" "pgweir" "uid" "pgweir" "schemaVersion" 39 "editable" true "refresh" "30s" "tags" (list "pgweir" "postgresql")
  "time" (dict "from" "now-3h" "to" "now")
  "templating" (dict "list" (list
    (dict "name" "datasource" "type" "datasource" "query" "prometheus" "label" "Prometheus")
    (dict "name" "pod" "type" "query" "datasource" $source "query" "label_values(pgweir_ready, pod)" "multi" true "includeAll" true "refresh" 2)))
  "panels" $made | toPrettyJson -}}
{{- end }}
