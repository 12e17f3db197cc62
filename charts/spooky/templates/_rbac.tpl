{{/* A role and its binding: (dict "root" $ "name" NAME "namespace" NAMESPACE-or-empty "accounts" (list ...) "rules" YAML) */}}
{{- define "spooky.role" -}}
{{- $kind := ternary "Role" "ClusterRole" (ne .namespace "") -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "spooky.metadata" (list .root .name .namespace) | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "spooky.metadata" (list .root .name .namespace) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .name }}
subjects:
  {{- range .accounts }}
  - kind: ServiceAccount
    name: {{ . }}
    namespace: {{ $.root.Release.Namespace }}
  {{- end }}
{{- end -}}

{{/* What is in namespaces: by a ClusterRole, or by a Role in each one that is watched. */}}
{{- define "spooky.readerRules" -}}
- {apiGroups: [""], resources: [services], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
- {apiGroups: [spooky.dev], resources: [listeners, upstreams], verbs: [list, watch]}
- {apiGroups: [gateway.networking.k8s.io], resources: [referencegrants], verbs: [list, watch]}
{{- end -}}

{{/* What has no namespace. The two definitions tell whether they are as old as the process. */}}
{{- define "spooky.clusterRules" -}}
- {apiGroups: [""], resources: [namespaces], verbs: [list, watch]}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [listeners.spooky.dev, upstreams.spooky.dev]
  verbs: [get]
{{- if include "spooky.readsNodes" . }}
- {apiGroups: [""], resources: [nodes], verbs: [list, watch]}
{{- end }}
{{- end -}}

{{- define "spooky.secretRules" -}}
- {apiGroups: [""], resources: [secrets, configmaps], verbs: [list, watch]}
{{- end -}}

{{- define "spooky.statusRules" -}}
- {apiGroups: [spooky.dev], resources: [listeners/status, upstreams/status], verbs: [patch]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}
{{- end -}}

{{/* The right to create cannot be limited by a name. */}}
{{- define "spooky.leaderRules" -}}
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create]}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "spooky.lease" . }}]
  verbs: [get, update]
{{- end -}}
