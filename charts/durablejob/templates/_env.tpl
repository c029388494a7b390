{{- /* The controller's settings, as its environment (see `durablejob-controller --help`). */ -}}
{{- define "durablejob.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- $controller := .Values.controller }}
{{- $settings := dict
  "NAMESPACES" (join "," .Values.watchNamespaces)
  "OWN_NAMESPACE" (include "durablejob.ownNamespace" .)
  "LEASE_NAME" (include "durablejob.leaseName" .)
  "LEASE_DURATION" .Values.leaderElection.leaseDuration
  "NO_ELECT" (not .Values.leaderElection.enabled)
  "IDENTITY" $controller.identity
  "GATE_LISTEN" (printf "%s:%d" .Values.gate.address (int .Values.gate.port))
  "GATE_URL" (include "durablejob.gateURL" .)
  "HTTP_LISTEN" (printf "%s:%d" .Values.http.address (int .Values.http.port))
  "WORKERS" (int $controller.workers)
  "POLL_INTERVAL" $controller.pollInterval
  "REQUEST_TIMEOUT" $controller.requestTimeout
  "PROBE_INTERVAL" $controller.probeInterval
  "RELIST_INTERVAL" $controller.relistInterval
  "SWEEP_INTERVAL" $controller.sweepInterval
  "LOG_LEVEL" $controller.logLevel
  "LOG_FORMAT" $controller.logFormat
}}
{{- if .Values.admissionPolicy.enabled }}
{{- $_ := set $settings "ADMISSION_POLICY" (include "durablejob.fullname" .) }}
{{- end }}
{{- with $controller.highWaterFile }}
{{- $_ := set $settings "HIGH_WATER_FILE" . }}
{{- end }}
{{- if include "durablejob.gateTLS" . }}
{{- $_ := set $settings "GATE_TLS_CERT" "/etc/durablejob/gate-tls/tls.crt" }}
{{- $_ := set $settings "GATE_TLS_KEY" "/etc/durablejob/gate-tls/tls.key" }}
{{- end }}
{{- if $controller.kubeconfig.secretName }}
{{- $_ := set $settings "KUBECONFIG" (printf "/etc/durablejob/kubeconfig/%s" $controller.kubeconfig.key) }}
{{- with $controller.kubeconfig.context }}
{{- $_ := set $settings "CONTEXT" . }}
{{- end }}
{{- end }}
{{- range $name, $value := $settings }}
- {name: DURABLEJOB_{{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
