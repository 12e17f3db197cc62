# shellcheck shell=bash disable=SC2034
# Sourced by every script here: places, versions, addresses, and what more than one of them does.
# From the environment: CLUSTER_HOME (binaries and clusters; keep it between runs), CLUSTER_NAME (several clusters run side by side),
# CLUSTER_STATE (data, logs and kubeconfig of one cluster), CLUSTER_NODES, KUBEBUILDER_ASSETS (binaries of the API server that exist already).
set -euo pipefail
HARNESS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${CLUSTER_HOME:=${SPOOKY_CACHE:-$HOME/.cache/spooky}/cluster}"
: "${CLUSTER_NAME:=default}"
: "${CLUSTER_NODES:=2}"
CLUSTER_HOME=$(realpath -m "$CLUSTER_HOME")
# Never below /run, /var/lib or /var/log, which a node hides behind its own.
CLUSTER_STATE=$(realpath -m "${CLUSTER_STATE:-$CLUSTER_HOME/run/$CLUSTER_NAME}")
BIN=$CLUSTER_HOME/bin
IMAGES=$CLUSTER_HOME/images

# A binary is built anew when its version here changes, or RECIPE, which counts the changes of flags in `build`.
# The versions of Kubernetes, etcd and Prometheus are those of the go.mod files beside this.
RECIPE=1
HELM3_VERSION=v3.22.0
HELM3_KUBERNETES=37   # the minor version that charts are told: that of its client-go
HELM4_VERSION=v4.3.1
KUBECONFORM_VERSION=v0.8.0
CONTAINERD_VERSION=v2.4.2   # kubelet 1.36 asks the runtime for its cgroup driver: 2.x answers
RUNC_VERSION=v1.5.2
CNI_VERSION=v1.9.1
COREDNS_VERSION=v1.15.0

# Both ranges are set aside for benchmarks (RFC 2544, RFC 5180), so that no real network is hidden. They exist only within the cluster's
# own network namespaces.
OUTSIDE=198.18.0.1 OUTSIDE6=2001:2:0:1::1                    # API server, DNS, and clients of what the cluster serves
node_address() { echo "198.18.0.$((10 + $1))"; }
node_address6() { echo "2001:2:0:1::$((10 + $1))"; }
node_pods() { echo "198.18.$((64 + $1)).0/24"; }
node_pods6() { echo "2001:2:0:2$((64 + $1))::/64"; }
POD_RANGES=198.18.64.0/18,2001:2:0:200::/56
SERVICE_RANGES=198.19.0.0/16,2001:2:0:ff00::/112
SERVICE_OF_API=198.19.0.1
PAUSE=localhost/pause:1

export PATH="$BIN:$PATH"
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1            # of cgroup v1, at each call of ctr

say() { printf '[cluster] %s\n' "$*" >&2; }
die() { printf '[cluster] %s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The comment at the top of the calling script.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

# ours PID: whether it is a process of this cluster, and not a later one with its number.
ours() { [[ $(readlink "/proc/$1/cwd" 2>/dev/null) == "$CLUSTER_STATE" ]]; }
# alive PID: neither gone nor waiting for somebody to collect it.
alive() { grep -qs '^State:[[:space:]]*[^XZ]' "/proc/$1/status"; }

# within SECONDS WHAT COMMAND...: asks until the answer is yes.
within() {
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [[ $SECONDS -lt $end ]] || die "$what is not ready; logs: $CLUSTER_STATE/log"
    sleep 0.1
  done
}
