{{- define "durablejob.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- /* Room is left for suffixes such as -gate-tls: names of Services and labels end at 63. */ -}}
{{- define "durablejob.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "durablejob.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "durablejob.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "durablejob.selectorLabels" -}}
app.kubernetes.io/name: {{ include "durablejob.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- /* Of the pod of `helm test`, by which the NetworkPolicy lets it in. */ -}}
{{- define "durablejob.testSelectorLabels" -}}
{{- include "durablejob.selectorLabels" . | replace "component: controller" "component: test" -}}
{{- end -}}

{{- define "durablejob.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "durablejob.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: durablejob
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "durablejob.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "durablejob.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "durablejob.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "durablejob.ownNamespace" -}}
{{- default .Release.Namespace .Values.controller.ownNamespace -}}
{{- end -}}

{{- define "durablejob.leaseName" -}}
{{- default (include "durablejob.fullname" .) .Values.leaderElection.leaseName -}}
{{- end -}}

{{- define "durablejob.gateName" -}}
{{- include "durablejob.fullname" . -}}-gate
{{- end -}}

{{- define "durablejob.gateTLS" -}}
{{- if ne .Values.gate.tls.mode "None" -}}true{{- end -}}
{{- end -}}

{{- define "durablejob.gateSecret" -}}
{{- default (printf "%s-gate-tls" (include "durablejob.fullname" .)) .Values.gate.tls.secretName -}}
{{- end -}}

{{- define "durablejob.gateHost" -}}
{{- printf "%s.%s.svc" (include "durablejob.gateName" .) .Release.Namespace -}}
{{- end -}}

{{- define "durablejob.gateURL" -}}
{{- if .Values.gate.url -}}
{{- .Values.gate.url -}}
{{- else -}}
{{- $scheme := ternary "https" "http" (eq (include "durablejob.gateTLS" .) "true") -}}
{{- printf "%s://%s:%d" $scheme (include "durablejob.gateHost" .) (int .Values.gate.service.port) -}}
{{- end -}}
{{- end -}}

{{- /* Names of the certificate, as JSON {"dns": [...], "ips": [...]}: what drivers may call the gate. */ -}}
{{- define "durablejob.gateNames" -}}
{{- $gate := include "durablejob.gateName" . -}}
{{- $host := include "durablejob.gateHost" . -}}
{{- $names := list $host $gate (printf "%s.%s" $gate .Release.Namespace) (printf "%s.cluster.local" $host) -}}
{{- with .Values.gate.url -}}
{{- $names = append $names (regexReplaceAll ":[0-9]+$" (urlParse .).host "" | trimPrefix "[" | trimSuffix "]") -}}
{{- end -}}
{{- $names = concat $names .Values.gate.tls.extraNames | uniq -}}
{{- $dns := list -}}
{{- $ips := list -}}
{{- range $names -}}
{{- if or (regexMatch "^[0-9]+(\\.[0-9]+){3}$" .) (contains ":" .) -}}
{{- $ips = append $ips . -}}
{{- else -}}
{{- $dns = append $dns . -}}
{{- end -}}
{{- end -}}
{{- dict "dns" $dns "ips" $ips | toJson -}}
{{- end -}}
