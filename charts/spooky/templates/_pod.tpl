{{/* An address and a port as a flag has them: (list ADDRESS PORT) */}}
{{- define "spooky.listen" -}}
{{- printf (ternary "[%s]:%d" "%s:%d" (contains ":" (index . 0))) (index . 0) (int (index . 1)) -}}
{{- end -}}

{{- define "spooky.ports" -}}
{{- $ports := list -}}
{{- range .Values.ports -}}{{- $ports = append $ports (toString .targetPort) -}}{{- end -}}
{{- join "," $ports -}}
{{- end -}}

{{/* Flags that every role has. */}}
{{- define "spooky.sharedArguments" -}}
{{- $values := .Values -}}
- serve
- --kubernetes
- --class={{ $values.className }}
{{- with $values.watchNamespaces }}
- --namespaces={{ include "spooky.ownNamespaceAnd" (list $ .) }}
{{- end }}
{{- with $values.listenerNamespaces }}
- --listener-namespaces={{ if has "all" . }}all{{ else }}{{ include "spooky.ownNamespaceAnd" (list $ .) }}{{ end }}
{{- end }}
{{- if eq $values.secrets.mode "cluster" }}
- --secret-namespaces=all
{{- else }}
- --secret-namespaces={{ include "spooky.ownNamespaceAnd" (list . $values.secrets.namespaces) }}
{{- end }}
- --ports={{ include "spooky.ports" . }}
- --publish-service={{ .Release.Namespace }}/{{ include "spooky.fullname" . }}
{{- with $values.publishAddresses }}
- --publish-addresses={{ join "," . }}
{{- end }}
{{- if $values.publishNodeAddresses }}
- --publish-node-addresses
{{- end }}
{{- if $values.allowAddressBackends }}
- --allow-address-backends
{{- end }}
{{- with $values.endpointDeny }}
- --endpoint-deny={{ join "," . }}
{{- end }}
- --metrics-detail={{ $values.metrics.detail }}
{{- if $values.admin.enabled }}
- --admin=127.0.0.1:{{ $values.admin.port }}
{{- if $values.admin.tokenSecret.name }}
- --admin-token-file=/etc/spooky/admin/token
{{- end }}
{{- else }}
- --admin=off
{{- end }}
- --log-level={{ $values.log.level }}
- --log-format={{ $values.log.format }}
{{- end -}}

{{- define "spooky.edgeArguments" -}}
{{- $values := .Values -}}
{{ include "spooky.sharedArguments" . }}
- --metrics={{ include "spooky.listen" (list $values.metrics.address $values.metrics.port) }}
{{- if eq $values.controller.mode "deployment" }}
- --role=edge
{{- end }}
{{- if eq $values.topology.source "node" }}
- --topology=node
{{- end }}
- --node-name=$(NODE_NAME)
- --engine={{ $values.engine }}
- --workers={{ include "spooky.workersFlag" . }}
- --runtime-dir=/run/spooky
{{- with include "spooky.maxConnections" . }}
- --max-connections={{ . }}
{{- end }}
- --udp-receive-buffer={{ $values.udp.receiveBuffer }}
- --udp-send-buffer={{ $values.udp.sendBuffer }}
- --drain-delay={{ $values.drain.delay }}
- --drain-timeout={{ $values.drain.timeout }}
- --access-log={{ $values.log.access }}
{{- if include "spooky.keySecret" . }}
- --key-file=/etc/spooky/key/key
{{- end }}
{{- with $values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "spooky.controllerArguments" -}}
{{ include "spooky.sharedArguments" . }}
- --role=controller
- --metrics={{ include "spooky.listen" (list "::" .Values.metrics.port) }}
- --node-name=$(NODE_NAME)
- --drain-delay=0s
- --drain-timeout=0s
{{- end -}}

{{- define "spooky.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: POD_IPS
  valueFrom: {fieldRef: {fieldPath: status.podIPs}}
- name: HOST_IPS
  valueFrom: {fieldRef: {fieldPath: status.hostIPs}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_ZONE
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['topology.kubernetes.io/zone']"}}
{{- end -}}

{{/* Pod Security `restricted`, but for user 0 where ports under 1024 are bound by it: root keeps a capability across exec, others do not. */}}
{{- define "spooky.podSecurityContext" -}}
{{- $base := dict "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "fsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if .root -}}
{{- $_ := set $base "runAsNonRoot" false -}}
{{- $_ := set $base "runAsUser" 0 -}}
{{- end -}}
{{- toYaml (mergeOverwrite $base (deepCopy (default dict .over))) -}}
{{- end -}}

{{- define "spooky.securityContext" -}}
{{- $capabilities := dict "drop" (list "ALL") -}}
{{- if .root -}}
{{- $_ := set $capabilities "add" (list "NET_BIND_SERVICE") -}}
{{- end -}}
{{- $base := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "privileged" false "capabilities" $capabilities -}}
{{- toYaml (mergeOverwrite $base (deepCopy (default dict .over))) -}}
{{- end -}}

{{/* The kubelet asks the pod's address, which a pod of the host network need not listen on. */}}
{{- define "spooky.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
  {{- $address := .root.Values.metrics.address }}
  {{- if and (eq .root.Values.exposure.type "hostNetwork") (not (has $address (list "::" "0.0.0.0"))) (ne .component "controller") }}
  host: {{ $address | quote }}
  {{- end }}
periodSeconds: {{ .probe.periodSeconds }}
failureThreshold: {{ .probe.failureThreshold }}
timeoutSeconds: {{ .probe.timeoutSeconds }}
{{- end -}}

{{- define "spooky.probes" -}}
startupProbe:
  {{- include "spooky.probe" (dict "root" .root "path" "/healthz" "probe" .root.Values.probes.startup "component" .component) | nindent 2 }}
readinessProbe:
  {{- include "spooky.probe" (dict "root" .root "path" "/readyz" "probe" .root.Values.probes.readiness "component" .component) | nindent 2 }}
livenessProbe:
  {{- include "spooky.probe" (dict "root" .root "path" "/healthz" "probe" .root.Values.probes.liveness "component" .component) | nindent 2 }}
{{- end -}}

{{/* Annotations of a pod that Prometheus finds by itself. */}}
{{- define "spooky.podAnnotations" -}}
{{- $annotations := deepCopy (default dict .Values.podAnnotations) -}}
{{- if .Values.metrics.annotations -}}
{{- $annotations = mustMerge $annotations (dict "prometheus.io/scrape" "true" "prometheus.io/port" (toString .Values.metrics.port) "prometheus.io/path" "/metrics") -}}
{{- end -}}
{{- with $annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* What workers leave in `runtime`: sockets, which take no room, and with the matrixai engine a file of 4Ki for each listener and worker, 64 times 100 at most, say. */}}
{{- define "spooky.volumes" -}}
{{- $volumes := list -}}
{{- if .edge -}}
{{- $volumes = append $volumes (dict "name" "runtime" "emptyDir" (dict "medium" "Memory" "sizeLimit" "64Mi")) -}}
{{- end -}}
{{- if and .edge (include "spooky.keySecret" .root) -}}
{{- $item := dict "key" (ternary .root.Values.key.secretKey "key" (ne .root.Values.key.existingSecret "")) "path" "key" -}}
{{- $secret := dict "secretName" (include "spooky.keySecret" .root) "defaultMode" 288 "items" (list $item) -}}
{{- $volumes = append $volumes (dict "name" "key" "secret" $secret) -}}
{{- end -}}
{{- with .root.Values.admin.tokenSecret -}}
{{- if and $.root.Values.admin.enabled .name -}}
{{- $secret := dict "secretName" .name "defaultMode" 288 "items" (list (dict "key" .key "path" "token")) -}}
{{- $volumes = append $volumes (dict "name" "admin-token" "secret" $secret) -}}
{{- end -}}
{{- end -}}
{{- if .edge -}}
{{- $volumes = concat $volumes (default list .root.Values.extraVolumes) -}}
{{- end -}}
{{- with $volumes -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "spooky.volumeMounts" -}}
{{- $mounts := list -}}
{{- if .edge -}}
{{- $mounts = append $mounts (dict "name" "runtime" "mountPath" "/run/spooky") -}}
{{- end -}}
{{- if and .edge (include "spooky.keySecret" .root) -}}
{{- $mounts = append $mounts (dict "name" "key" "mountPath" "/etc/spooky/key" "readOnly" true) -}}
{{- end -}}
{{- if and .root.Values.admin.enabled .root.Values.admin.tokenSecret.name -}}
{{- $mounts = append $mounts (dict "name" "admin-token" "mountPath" "/etc/spooky/admin" "readOnly" true) -}}
{{- end -}}
{{- if .edge -}}
{{- $mounts = concat $mounts (default list .root.Values.extraVolumeMounts) -}}
{{- end -}}
{{- with $mounts -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
