#!/usr/bin/env bash
# Times `evenkeel`'s drain of a node beside `kubectl drain` of the same node with the same pods, in turn.
#   scripts/bench-drain.sh kind:NAME [RUNS]     needs kubectl, kind and jq; EVENKEEL_BIN is the executable
# Prints seconds per run and the medians. The aim: evenkeel at most 2 % or 1 s longer, the larger.
set -euo pipefail
cd "$(dirname "$0")/.."
on="${1:?usage: scripts/bench-drain.sh kind:NAME [RUNS]}"
runs="${2:-5}"
bin="${EVENKEEL_BIN:?set EVENKEEL_BIN to the executable, such as the path that scripts/build-static.sh prints}"
work="$(mktemp -d)"
export KUBECONFIG="$work/kubeconfig"
kind get kubeconfig --name "${on#kind:}" >"$KUBECONFIG"
node="$(kubectl get nodes -o name -l '!node-role.kubernetes.io/control-plane' | head -1 | cut -d/ -f2)"
cleanup() {
  kubectl uncordon "$node" >/dev/null 2>&1 || true
  kubectl delete namespace evenkeel-bench --ignore-not-found >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
sed "s/NODE/$node/" scripts/bench/drain.yaml >"$work/drain.yaml"

with_kubectl() {
  kubectl create namespace evenkeel-bench >/dev/null
  sed -n '/^    apply:/,/^    ready:/p' "$work/drain.yaml" | sed '1d;$d' | sed 's/^      - /---\n/; s/^        //' |
    kubectl apply -n evenkeel-bench -f - >/dev/null
  kubectl rollout status -n evenkeel-bench deployment/shop --timeout 90s >/dev/null
  sleep 3 # the time that the other arm spends in its phase `before`
  local start end
  start="$(date +%s.%N)"
  kubectl drain "$node" --ignore-daemonsets --delete-emptydir-data >/dev/null 2>&1
  end="$(date +%s.%N)"
  kubectl uncordon "$node" >/dev/null
  kubectl delete namespace evenkeel-bench >/dev/null
  echo "$start $end" | awk '{printf "%.2f\n", $2 - $1}'
}

with_evenkeel() {
  local code=0
  "$bin" run "$work/drain.yaml" --on "$on" --out "$work/run-$1" >"$work/log" 2>&1 || code=$?
  [ "$code" -eq 0 ] || { cat "$work/log" >&2; exit 1; }
  jq -r '.steps[] | select(.name == "drain") | (.end_ms - .start_ms) / 1000 * 100 | round / 100' "$work/run-$1/bench-drain/verdict.json"
}

for run in $(seq "$runs"); do
  k="$(set -e; with_kubectl)"
  e="$(set -e; with_evenkeel "$run")"
  echo "run $run: kubectl $k s, evenkeel $e s"
  echo "$k" >>"$work/kubectl"
  echo "$e" >>"$work/evenkeel"
done
median() { sort -n "$1" | awk '{v[NR] = $1} END {print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2}'; }
awk -v k="$(median "$work/kubectl")" -v e="$(median "$work/evenkeel")" \
  'BEGIN {printf "median: kubectl %.2f s, evenkeel %.2f s, difference %+.2f s (%+.1f %%)\n", k, e, e - k, (e - k) / k * 100}'
