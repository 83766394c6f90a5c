#!/usr/bin/env bash
# How fast the sandbox is, and kind beside it in the same run: start, 30 ready pods, and the suite of experiments.
#   scripts/bench-sandbox.sh [quick]     `quick` leaves kind and the suites out
# Needs Docker and kind for the second half; EVENKEEL_NODE_IMAGE where kind's node image cannot be pulled.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo bench --locked --bench sandbox 2>/dev/null
[ "${1:-}" != quick ] || exit 0
if [ -x ../shared/kind/ready ]; then
  ../shared/kind/ready >/dev/null || ../shared/kind/ready >/dev/null # now and then a pipe in it breaks
  export EVENKEEL_NODE_IMAGE="${EVENKEEL_NODE_IMAGE:-kindest/node:v1.34.4}"
fi
command -v kind >/dev/null && docker info >/dev/null 2>&1 || { echo "SKIPPED: kind and Docker are not both here"; exit 0; }
static="$(scripts/build-static.sh | tail -1)"
work="$(mktemp -d)"
name="evenkeel-bench-$$"
trap '"$static" kind down "$name" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
seconds() { date +%s.%N; }

began="$(seconds)"
"$static" run experiments --out "$work/sandbox" >/dev/null 2>&1 || { echo "the suite did not hold on the sandbox" >&2; exit 1; }
sandbox="$(echo "$began $(seconds)" | awk '{print $2 - $1}')"

began="$(seconds)"
"$static" kind up kind-configs/three-workers.yaml --name "$name" >/dev/null 2>&1
up="$(echo "$began $(seconds)" | awk '{print $2 - $1}')"
kind get kubeconfig --name "$name" >"$work/kubeconfig"
export KUBECONFIG="$work/kubeconfig"
kubectl create deployment shop --image evenkeel/demo:v1 --replicas 30 -- /evenkeel demo >/dev/null
kubectl rollout status deployment/shop --timeout 180s >/dev/null
pods="$(echo "$began $(seconds)" | awk '{print $2 - $1}')"
kubectl delete deployment shop --wait >/dev/null
began="$(seconds)"
"$static" run experiments --on "kind:$name" --out "$work/kind" >/dev/null 2>&1 || { echo "the suite did not hold on kind" >&2; exit 1; }
kind="$(echo "$began $(seconds) $up" | awk '{print $2 - $1 + $3}')"
echo "kind: cluster ready after     $(printf '%8.3f' "$up") s"
echo "kind: 30 pods ready after     $(printf '%8.3f' "$pods") s"
awk -v s="$sandbox" -v k="$kind" 'BEGIN {printf "suite: sandbox %.0f s, kind %.0f s with its start, ratio %.1f (aim: 3)\n", s, k, k / s}'
