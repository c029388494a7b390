{{- /* What the controller does in a namespace that it watches. tests/chart/test_rights.py holds each verb against the
calls that the API server saw: none is missing, and none is never used. */ -}}
{{- define "durablejob.namespaceRules" -}}
- apiGroups: [durablejob.io]
  resources: [durablejobs]
  verbs:
    - list   # at the start, and now and then: what the watch has missed
    - watch
    - get    # the gate, and whoever lost a compare-and-swap: today's version, not a cache's
    - patch  # its finalizer, and nothing else
    - delete # ttlSecondsAfterFinished
- apiGroups: [durablejob.io]
  resources: [durablejobs/status]
  verbs: [update] # the compare-and-swaps; nobody else has this right
- apiGroups: [durablejob.io]
  resources: [jobbackends]
  verbs:
    - list
    - watch
    - get    # before a job is refused for good: today's backend
    - patch  # the finalizer that a backend in use holds
- apiGroups: [durablejob.io]
  resources: [jobbackends/status]
  verbs: [update] # what probing found
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get] # labels, for a ClusterJobBackend's namespaceSelector; the uid of kube-system
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create] # one per transition
{{- if .Values.rbac.kubernetesJobs }}
- apiGroups: [batch]
  resources: [jobs]
  verbs:
    - create # inert
    - get    # by its name, before it is believed to be absent; before it is let go
    - list   # once per poll
    - patch  # activates it; takes the finalizer off
    - delete # a cancel, a deadline, a deletion
- apiGroups: [""]
  resources: [pods]
  verbs: [list] # exit codes, and whether the pods of a deleted Job are gone
{{- end }}
{{- if .Values.rbac.sparkPods }}
- apiGroups: [""]
  resources: [pods]
  verbs:
    - create # a driver, inert
    - get    # by its name, before it is believed to be absent; before it is let go
    - list   # once per poll
    - patch  # activates it; takes the finalizer off
    - delete # a cancel, a deadline, a deletion
    - deletecollection # the executors of a driver that has ended
{{- end }}
{{- if .Values.rbac.sparkServices }}
- apiGroups: [""]
  resources: [services]
  verbs: [create, delete] # lead to a driver's UI, as long as it runs
{{- end }}
{{- if .Values.rbac.sparkIngresses }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [create, delete] # the same, from outside
{{- end }}
{{- if .Values.rbac.podLogs }}
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get] # the last lines of a failed program's, where a backend says so
{{- end }}
{{- if .Values.rbac.secrets.all }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get] # by name only
{{- else if .Values.rbac.secrets.names }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: {{- toYaml .Values.rbac.secrets.names | nindent 4 }}
  verbs: [get] # tokens of JobBackends, environment of Spark jobs
{{- end }}
{{- end -}}

{{- define "durablejob.clusterRules" -}}
- apiGroups: [durablejob.io]
  resources: [clusterjobbackends]
  verbs: [list, watch, get, patch] # as for JobBackends, which they are for several namespaces
- apiGroups: [durablejob.io]
  resources: [clusterjobbackends/status]
  verbs: [update]
{{- if and .Values.admissionPolicy.enabled .Values.rbac.kubernetesJobs }}
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingadmissionpolicies, validatingadmissionpolicybindings]
  resourceNames: [{{ include "durablejob.fullname" . }}]
  verbs: [get] # without it a backend of type kubernetes is not ready
{{- end }}
{{- end -}}
