{{/* A duration in milliseconds: 1m30s. */}}
{{- define "spooky.milliseconds" -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(h|ms|m|s)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $sum = add $sum (mul (atoi (trimSuffix $unit .)) (get (dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1) $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* The grace period: what a drain takes at most, rounded up to seconds, and 5 s. */}}
{{- define "spooky.grace" -}}
{{- $sum := add (atoi (include "spooky.milliseconds" .Values.drain.delay)) (atoi (include "spooky.milliseconds" .Values.drain.timeout)) -}}
{{- add 5 (div (add $sum 999) 1000) -}}
{{- end -}}

{{/* A memory quantity in mebibytes; 0 for none. */}}
{{- define "spooky.mebibytes" -}}
{{- $unit := regexFind "[A-Za-z]*$" . -}}
{{- $factors := dict "" 1.0 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 -}}
{{- if . -}}
{{- divf (mulf (float64 (trimSuffix $unit .)) (get $factors $unit)) 1048576.0 | floor | int64 -}}
{{- else -}}
0
{{- end -}}
{{- end -}}

{{/* Resources may be null: all of them taken away. */}}
{{- define "spooky.memory" -}}
{{- include "spooky.mebibytes" (dig "limits" "memory" "" (. | default dict)) -}}
{{- end -}}

{{/* A CPU quantity in cores. */}}
{{- define "spooky.cores" -}}
{{- ternary (divf (float64 (trimSuffix "m" .)) 1000.0) (float64 .) (hasSuffix "m" .) -}}
{{- end -}}

{{/* Empty: none. */}}
{{- define "spooky.cpuLimit" -}}
{{- toString (dig "limits" "cpu" "" (.Values.resources | default dict)) -}}
{{- end -}}

{{/* How many workers there are at most: the CPU limit as `--workers auto` rounds it, or the whole cores of the CPU request; at least one. */}}
{{- define "spooky.workers" -}}
{{- if .Values.workers -}}
{{- int64 .Values.workers -}}
{{- else if include "spooky.cpuLimit" . -}}
{{- max 1 (int64 (floor (addf (float64 (include "spooky.cores" (include "spooky.cpuLimit" .))) 0.5))) -}}
{{- else -}}
{{- max 1 (int64 (floor (float64 (include "spooky.cores" (toString (dig "requests" "cpu" "0" (.Values.resources | default dict))))))) -}}
{{- end -}}
{{- end -}}

{{/* A pod sees its CPU limit, and whether its node has as many cores; its request it does not see. */}}
{{- define "spooky.workersFlag" -}}
{{- if and (not .Values.workers) (include "spooky.cpuLimit" .) -}}
auto
{{- else -}}
{{- include "spooky.workers" . -}}
{{- end -}}
{{- end -}}

{{/* What the memory limit has room for: 128 Mi for the main process, 80 Mi for a worker, a quarter of the rest for streams that are busy. */}}
{{- define "spooky.maxConnections" -}}
{{- if .Values.maxConnections -}}
{{- int64 .Values.maxConnections -}}
{{- else -}}
{{- $memory := atoi (include "spooky.memory" .Values.resources) -}}
{{- $workers := atoi (include "spooky.workers" .) -}}
{{- if $memory -}}
{{- $fixed := add 128 (mul 80 $workers) -}}
{{- $least := add $fixed 48 -}}
{{- if lt $memory (int $least) -}}
{{- fail (printf "resources.limits.memory: %dMi is too little for %d worker(s), which need %dMi at least" $memory $workers $least) -}}
{{- end -}}
{{- mul 10 (div (mul (sub $memory $fixed) 768) 1000) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Options of every Node process of a pod: (dict "memory" MEBIBYTES "processes" N "more" TEXT) */}}
{{- define "spooky.nodeOptions" -}}
{{- $options := list -}}
{{- if .memory -}}
{{- $options = append $options (printf "--max-old-space-size=%d" (div (mul .memory 60) (mul 100 .processes))) -}}
{{- end -}}
{{- with .more -}}
{{- $options = append $options . -}}
{{- end -}}
{{- join " " $options -}}
{{- end -}}

{{/* How many pods may be there beside others, and how many missing: one of the two is 0, and the one that is given decides the other. */}}
{{- define "spooky.rollingUpdate" -}}
{{- $surge := toString .Values.updateStrategy.maxSurge -}}
{{- $missing := toString .Values.updateStrategy.maxUnavailable -}}
{{- $zero := list "0" "0%" -}}
{{- if and (eq $surge "") (eq $missing "") -}}
{{- $surge = ternary "0" "1" (eq (include "spooky.hostExposure" .) "true") -}}
{{- end -}}
{{- if eq $surge "" -}}
{{- $surge = ternary "1" "0" (has $missing $zero) -}}
{{- else if eq $missing "" -}}
{{- $missing = ternary "1" "0" (has $surge $zero) -}}
{{- end -}}
maxSurge: {{ $surge }}
maxUnavailable: {{ $missing }}
{{- end -}}
