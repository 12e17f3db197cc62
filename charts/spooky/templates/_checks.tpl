{{/* What the schema cannot say: every fault at once, each with the value's name. */}}
{{- define "spooky.checks" -}}
{{- $faults := list -}}
{{- $values := .Values -}}
{{- $type := $values.exposure.type -}}
{{- $names := list -}}{{- $targets := list -}}{{- $fronts := list -}}{{- $nodePorts := list -}}
{{- if not $values.ports -}}
{{- $faults = append $faults "ports: there must be one at least" -}}
{{- end -}}
{{- $taken := dict (toString $values.metrics.port) "metrics.port" -}}
{{- if $values.admin.enabled -}}
{{- if eq (int $values.metrics.port) (int $values.admin.port) -}}
{{- $faults = append $faults "admin.port: is metrics.port as well" -}}
{{- end -}}
{{- $_ := set $taken (toString $values.admin.port) "admin.port" -}}
{{- end -}}
{{- range $i, $port := $values.ports -}}
{{- $at := printf "ports[%d]" $i -}}
{{- $target := int $port.targetPort -}}
{{- if has $port.name $names -}}{{- $faults = append $faults (printf "%s.name: %s is there twice" $at $port.name) -}}{{- end -}}
{{- if eq $port.name "metrics" -}}{{- $faults = append $faults (printf "%s.name: metrics is the name of another port" $at) -}}{{- end -}}
{{- if has $target $targets -}}{{- $faults = append $faults (printf "%s.targetPort: %d is there twice" $at $target) -}}{{- end -}}
{{- if and (has (int $port.port) $fronts) (ne $type "hostNetwork") -}}{{- $faults = append $faults (printf "%s.port: %d is there twice" $at (int $port.port)) -}}{{- end -}}
{{- if and $port.nodePort (has (int $port.nodePort) $nodePorts) -}}{{- $faults = append $faults (printf "%s.nodePort: %d is there twice" $at (int $port.nodePort)) -}}{{- end -}}
{{- with get $taken (toString $port.targetPort) -}}{{- $faults = append $faults (printf "%s.targetPort: %d is %s" $at $target .) -}}{{- end -}}
{{- if lt $target 1024 -}}
{{- if ne $type "hostNetwork" -}}
{{- $faults = append $faults (printf "%s.targetPort: %d: a process without privileges binds 1024 and above; `port` in front of it may be %d" $at $target $target) -}}
{{- else if eq $values.exposure.hostNetwork.lowPorts "none" -}}
{{- $faults = append $faults (printf "%s.targetPort: %d: ports under 1024 need exposure.hostNetwork.lowPorts" $at $target) -}}
{{- end -}}
{{- end -}}
{{- $names = append $names $port.name -}}{{- $targets = append $targets $target -}}{{- $fronts = append $fronts (int $port.port) -}}
{{- if $port.nodePort -}}{{- $nodePorts = append $nodePorts (int $port.nodePort) -}}{{- end -}}
{{- end -}}
{{- if and (ne $type "hostNetwork") (ne $values.exposure.hostNetwork.lowPorts "none") -}}
{{- $faults = append $faults "exposure.hostNetwork.lowPorts: is for exposure.type hostNetwork alone" -}}
{{- end -}}
{{- if and (include "spooky.hostExposure" .) (not (has (toString $values.updateStrategy.maxSurge) (list "" "0" "0%"))) -}}
{{- $faults = append $faults (printf "updateStrategy.maxSurge: with exposure.type %s a node has no room for two pods" $type) -}}
{{- end -}}
{{- if eq $values.updateStrategy.type "RollingUpdate" -}}
{{- $surge := toString $values.updateStrategy.maxSurge -}}
{{- $missing := toString $values.updateStrategy.maxUnavailable -}}
{{- $zero := list "0" "0%" -}}
{{- if and (include "spooky.hostExposure" .) (has $missing $zero) -}}
{{- $faults = append $faults (printf "updateStrategy.maxUnavailable: with exposure.type %s a pod goes before its successor comes: 1 or more" $type) -}}
{{- else if and (has $surge $zero) (has $missing $zero) -}}
{{- $faults = append $faults "updateStrategy: maxSurge and maxUnavailable are both 0: one of them must be 1 or more" -}}
{{- else if not (or (has $surge (append $zero "")) (has $missing (append $zero ""))) -}}
{{- $faults = append $faults "updateStrategy: maxSurge and maxUnavailable exclude each other: one of them must be 0" -}}
{{- end -}}
{{- end -}}
{{- if and $values.networkPolicy.enabled (eq $type "hostNetwork") -}}
{{- $faults = append $faults "networkPolicy.enabled: policies do not hold for pods of exposure.type hostNetwork" -}}
{{- end -}}
{{- if and (ne $type "hostNetwork") (has $values.metrics.address (list "127.0.0.1" "::1")) -}}
{{- $faults = append $faults "metrics.address: probes reach a loopback address with exposure.type hostNetwork alone" -}}
{{- end -}}
{{- if and (eq (toString $values.metrics.serviceMonitor.enabled) "true") (not $values.metrics.service.enabled) -}}
{{- $faults = append $faults "metrics.serviceMonitor.enabled: needs metrics.service.enabled" -}}
{{- end -}}
{{- if $values.watchNamespaces -}}
{{- range $values.listenerNamespaces -}}
{{- if not (has . (append $values.watchNamespaces $.Release.Namespace)) -}}
{{- $faults = append $faults (printf "listenerNamespaces: %s is not among watchNamespaces" .) -}}
{{- end -}}
{{- end -}}
{{- range ternary $values.secrets.namespaces list (eq $values.secrets.mode "namespaces") -}}
{{- if not (has . (append $values.watchNamespaces $.Release.Namespace)) -}}
{{- $faults = append $faults (printf "secrets.namespaces: %s is not among watchNamespaces" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\n  %s\n" (join "\n  " $faults)) -}}
{{- end -}}
{{- end -}}
