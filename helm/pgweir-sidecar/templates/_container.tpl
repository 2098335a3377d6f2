{{/* An item for your pod's initContainers: a native sidecar, up before your containers start and until they have ended. */}}
{{- define "pgweir.sidecar" -}}
- {{ include "pgweir.container" (list . "sidecar") | nindent 2 | trim }}
  restartPolicy: Always
{{- end }}

{{/* include "pgweir.container" (list $ "sidecar"|"gateway") */}}
{{- define "pgweir.container" -}}
{{- $root := index . 0 -}}
{{- $values := $root.Values.pgweir -}}
{{- $settings := include "pgweir.settings" . | fromYaml -}}
{{- $times := include "pgweir.times" $root | fromYaml -}}
{{- $chart := index $root.Subcharts "pgweir" -}}
{{- $image := $values.image -}}
name: {{ $values.name }}
image: {{ printf "%s:%s" $image.repository (default $chart.Chart.AppVersion $image.tag) }}{{ with $image.digest }}@{{ . }}{{ end }}
imagePullPolicy: {{ $image.pullPolicy }}
args: [serve, /etc/pgweir/pgweir.yaml]
{{- with $values.env }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - { name: pgweir-pg, containerPort: {{ int $settings.listen.port }}, protocol: TCP }
  - { name: pgweir-metrics, containerPort: {{ int $settings.health.port }}, protocol: TCP }
startupProbe:
  httpGet: { path: /startup, port: pgweir-metrics }
  periodSeconds: 1
  timeoutSeconds: 1
  failureThreshold: {{ int $values.probes.startupSeconds }}
readinessProbe:
  httpGet: { path: /readiness, port: pgweir-metrics }
  periodSeconds: {{ int $values.probes.readinessPeriodSeconds }}
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet: { path: /liveness, port: pgweir-metrics }
  periodSeconds: {{ int $values.probes.livenessPeriodSeconds }}
  timeoutSeconds: 5
  failureThreshold: 6
lifecycle:
  preStop:
    sleep: { seconds: {{ int $times.settle }} }
terminationMessagePolicy: FallbackToLogsOnError
resources:
  {{- toYaml $values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: { drop: [ALL] }
  seccompProfile: { type: RuntimeDefault }
volumeMounts:
  - { name: {{ $values.name }}-config, mountPath: /etc/pgweir, readOnly: true }
  - { name: {{ $values.name }}-state, mountPath: /var/lib/pgweir }
  {{- range $key, $folder := dict "tls" "tls" "targetCa" "target-ca" "credentials" "credentials" "adminToken" "admin" }}
  {{- if index $values.secrets $key }}
  - { name: {{ $values.name }}-{{ $folder }}, mountPath: /run/secrets/pgweir/{{ $folder }}, readOnly: true }
  {{- end }}
  {{- end }}
{{- end }}

{{/* Items for your pod's volumes. */}}
{{- define "pgweir.volumes" -}}
{{- $root := . -}}
{{- $values := .Values.pgweir -}}
- name: {{ $values.name }}-config
  projected:
    sources:
      - configMap:
          name: {{ include "pgweir.fullname" . }}
          items: [{ key: pgweir.yaml, path: pgweir.yaml }]
      - configMap:
          name: {{ default (include "pgweir.fullname" .) $values.existingRulesConfigMap }}
          items: [{ key: rules.yaml, path: rules.yaml }]
- name: {{ $values.name }}-state
  emptyDir: { sizeLimit: 64Mi }
{{- range $key, $folder := dict "tls" "tls" "targetCa" "target-ca" "credentials" "credentials" "adminToken" "admin" }}
{{- with index $values.secrets $key }}
- name: {{ $values.name }}-{{ $folder }}
  secret: { secretName: {{ . }} }
{{- end }}
{{- end }}
{{- end }}
