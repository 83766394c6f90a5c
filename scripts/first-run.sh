#!/usr/bin/env bash
# From clone to a verdict: builds evenkeel, makes a kind cluster, runs an experiment on it, removes the cluster.
#   scripts/first-run.sh [FILE_OR_DIR…]     experiments/drain/b1-one-node.yaml where left out
set -euo pipefail
cd "$(dirname "$0")/.."
name="evenkeel-first-run"
if [ -x ../shared/kind/ready ]; then
  ../shared/kind/ready >/dev/null || ../shared/kind/ready >/dev/null # now and then a pipe in it breaks
  export EVENKEEL_NODE_IMAGE="${EVENKEEL_NODE_IMAGE:-kindest/node:v1.34.4}"
fi
for tool in cargo docker kind; do
  command -v "$tool" >/dev/null || { echo "error: $tool is not installed; see README.md" >&2; exit 4; }
done
static="$(scripts/build-static.sh | tail -1)"
trap '"$static" kind down "$name"' EXIT
"$static" kind up kind-configs/three-workers.yaml --name "$name"
[ "$#" -gt 0 ] || set -- experiments/drain/b1-one-node.yaml
"$static" run "$@" --on "kind:$name"
