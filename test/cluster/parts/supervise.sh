# shellcheck shell=bash
# Sourced by the first processes of a cluster and of a node.
# supervise NAME COMMAND...: runs it again a second after its end, so that a test may kill it (its process is in NAME.pid); not while there is NAME.off.
supervise() {
  local name=$1; shift
  while :; do
    while [[ -e $name.off ]]; do sleep 0.1; done
    "$@" >>"log/$name.log" 2>&1 &
    echo $! >"$name.pid"
    wait $! || true
    echo "[cluster] $name ended" >>"log/$name.log"
    sleep 1
  done
}
