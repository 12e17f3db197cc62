# Sourced by the scripts beside it: where tools live, how they speak, one lock per tool.
# Everything that is downloaded or built stays under $SPOOKY_CACHE; a tool is complete when its stamp holds the wanted version.
set -euo pipefail
TOOLS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SPOOKY_CACHE=${SPOOKY_CACHE:-$HOME/.cache/spooky}
mkdir -p "$SPOOKY_CACHE/log" "$SPOOKY_CACHE/stamp"
export PIP_CACHE_DIR=$SPOOKY_CACHE/pip GOMODCACHE=$SPOOKY_CACHE/go/mod GOCACHE=$SPOOKY_CACHE/go/build

say() { printf '[tools] %s\n' "$*" >&2; }
die() { printf '[tools] error: %s\n' "$*" >&2; exit 1; }

stamped() { [ "$(cat "$SPOOKY_CACHE/stamp/$1" 2>/dev/null)" = "$2" ]; }
stamp() { printf '%s\n' "$2" >"$SPOOKY_CACHE/stamp/$1"; }
locked() { exec 9>"$SPOOKY_CACHE/stamp/$1.lock"; flock -w 1500 9 || die "$1: another installation has held the lock for 25 minutes"; }

# logged NAME CMD...: the output goes to a log; on failure its end is shown.
logged() {
  local log=$SPOOKY_CACHE/log/$1.log; shift
  "$@" >"$log" 2>&1 </dev/null || { local rc=$?; tail -n 25 "$log" >&2; die "'$*' failed with $rc; the whole log is $log"; }
}

# A mirror or a proxy may have a bad minute: three tries, each with its own end.
retried() {
  local name=$1 try; shift
  for try in 1 2 3; do
    [ "$try" = 3 ] && { logged "$name" timeout 900 "$@"; return; }
    (logged "$name" timeout 900 "$@") && return
    say "$name: try $try failed, again in $((try * 5)) s"; sleep $((try * 5))
  done
}

need_root() { [ "$(id -u)" = 0 ] || die "$1 needs root (run as root, or install it yourself: $2)"; }

# apt_need PACKAGE...: installs those that are missing.
apt_need() {
  local missing=() p
  for p in "$@"; do dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$p"); done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "missing: ${missing[*]}, and there is no apt-get: this environment is made for Debian"
  need_root 'apt-get install' "apt-get install ${missing[*]}"
  say "apt-get install ${missing[*]}"
  exec 8>"$SPOOKY_CACHE/stamp/apt.lock"; flock -w 1500 8
  retried apt-update apt-get update -q
  retried apt-install env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"
  exec 8>&-
}
