{{- define "spooky.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "spooky.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Pods that take traffic: those of the controller's Deployment carry another component. */}}
{{- define "spooky.edgeSelector" -}}
{{ include "spooky.selector" . }}
app.kubernetes.io/component: edge
{{- end -}}

{{/* Of pods: without the chart's version, whose change alone is no reason to replace them. */}}
{{- define "spooky.podLabels" -}}
{{ include "spooky.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "spooky.labels" -}}
{{ include "spooky.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* What stands behind those, each once: (list $ LABELS...). The first that has a label has it, before commonLabels; those of the chart stay. */}}
{{- define "spooky.otherLabels" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}
{{- range rest . -}}{{- $labels = merge $labels (default dict .) -}}{{- end -}}
{{- $labels = merge $labels (default dict $root.Values.commonLabels) -}}
{{- range $name, $_ := include "spooky.labels" $root | fromYaml -}}{{- $labels = omit $labels $name -}}{{- end -}}
{{- with $labels -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* metadata of an object: (list $ NAME NAMESPACE-or-empty [labels] [annotations]) */}}
{{- define "spooky.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}{{- if gt (len .) 3 -}}{{- $labels = index . 3 -}}{{- end -}}
{{- $annotations := dict -}}{{- if gt (len .) 4 -}}{{- $annotations = index . 4 -}}{{- end -}}
name: {{ index . 1 }}
{{- with index . 2 }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "spooky.labels" $root | nindent 2 }}
  {{- with include "spooky.otherLabels" (list $root $labels) }}
  {{- . | nindent 2 }}
  {{- end }}
{{- with mustMerge (deepCopy (default dict $annotations)) (default dict $root.Values.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The same whatever writes: pods that wait for their turn, while controller.mode changes, go on reading. */}}
{{- define "spooky.edgeAccount" -}}
{{- default (include "spooky.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* Who writes: the same one, unless the controller is a Deployment. */}}
{{- define "spooky.controllerAccount" -}}
{{- if eq .Values.controller.mode "deployment" -}}
{{- default (printf "%s-controller" (include "spooky.fullname" .)) .Values.serviceAccount.controllerName -}}
{{- else -}}
{{- include "spooky.edgeAccount" . -}}
{{- end -}}
{{- end -}}

{{- define "spooky.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The Lease that the pods of an installation contend for: the process derives the same name. A class that is no name as it stands has its digest in it. */}}
{{- define "spooky.lease" -}}
{{- $plain := regexReplaceAll "[^a-z0-9-]" (lower .Values.className) "-" -}}
{{- if eq $plain .Values.className -}}
{{- printf "%s-leader" $plain -}}
{{- else -}}
{{- printf "%s-%s-leader" $plain (sha256sum .Values.className | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/*
The Secret with the key; empty without one. A rendering without a cluster cannot see whether there is a key already, and must give the same
output each time. That there is a cluster is seen by the namespace `default`, which always exists in one.
*/}}
{{- define "spooky.keySecret" -}}
{{- if .Values.key.existingSecret -}}
{{- .Values.key.existingSecret -}}
{{- else if and .Values.key.generate (lookup "v1" "Namespace" "" "default") -}}
{{- printf "%s-key" (include "spooky.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "spooky.hostExposure" -}}
{{- if has .Values.exposure.type (list "hostPort" "hostNetwork") -}}true{{- end -}}
{{- end -}}

{{- define "spooky.ownNamespaceAnd" -}}
{{- prepend (default list (index . 1)) (index . 0).Release.Namespace | uniq | join "," -}}
{{- end -}}

{{- define "spooky.readsNodes" -}}
{{- if or .Values.publishNodeAddresses (eq .Values.topology.source "node") -}}true{{- end -}}
{{- end -}}
