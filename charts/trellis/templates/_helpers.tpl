{{/* The name of a part: trellis-operator. */}}
{{- define "trellis.name" -}}
{{- printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels by which a part's pods are found. They never change. */}}
{{- define "trellis.selector" -}}
app.kubernetes.io/name: trellis
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{/* Labels of a part's objects. */}}
{{- define "trellis.labels" -}}
{{ include "trellis.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* The image of a part. */}}
{{- define "trellis.image" -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- printf "%s/trellis-%s:%s" .root.Values.image.registry .part $tag -}}
{{- end -}}

{{/* What a pod of operator or API may do: nothing that Kubernetes' restricted profile forbids. */}}
{{- define "trellis.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "trellis.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Replicas on different nodes where there are several. */}}
{{- define "trellis.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "trellis.selector" . | nindent 8 }}
{{- end -}}

{{/* Probes of a container, at its port of this name. */}}
{{- define "trellis.probes" -}}
livenessProbe:
  httpGet: {path: /livez, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end -}}

{{/* Binds the ClusterRole of a part's name where the jobs are: everywhere, or in the namespaces that are listed. */}}
{{- define "trellis.bindWhereJobsAre" -}}
{{- $name := include "trellis.name" . -}}
{{- $release := .root.Release.Namespace -}}
{{- $labels := include "trellis.labels" . -}}
{{- if .root.Values.jobNamespaces }}
{{- range $namespace := append .root.Values.jobNamespaces $release | uniq }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $namespace }}
  labels:
    {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $release }}
{{- end }}
{{- else }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels:
    {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $release }}
{{- end }}
{{- end -}}

{{/* Binds the ClusterRole <part>-watch, cluster-wide: a watch over several namespaces is one stream. */}}
{{- define "trellis.bindWatch" -}}
{{- $name := include "trellis.name" . -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}-watch
  labels:
    {{- include "trellis.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}-watch
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{- define "trellis.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "trellis.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "trellis.labels" . | nindent 4 }}
  {{- with (index .root.Values.serviceAccounts .part).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "trellis.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "trellis.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "trellis.labels" . | nindent 4 }}
spec:
  # Not minAvailable: 1, which would keep a node from being drained where there is one replica.
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "trellis.selector" . | nindent 6 }}
{{- end -}}
