#!/usr/bin/env bash
# Runs the conformance scenarios, a sample of the matrix, and every experiment and twin on a fresh kind cluster, and
# deletes it, also on failure. With EVENKEEL_TEST_ONLY, _ROUNDS or _INTERRUPT only experiments and twins.
#   scripts/on-kind.sh            one round; EVENKEEL_TEST_ROUNDS, _SEED, _ONLY, _INTERRUPT as in tests/on_cluster.rs
#   EVENKEEL_KIND_CONFIG=FILE     another cluster than kind-configs/three-workers.yaml
set -euo pipefail
cd "$(dirname "$0")/.."
config="${EVENKEEL_KIND_CONFIG:-kind-configs/three-workers.yaml}"
name="evenkeel-test-$$"

if [ -x ../shared/kind/ready ]; then
  # Safe to run again. The versions that it prints go through `head`, which now and then ends before their writer does,
  # and then all of it counts as failed.
  ../shared/kind/ready || ../shared/kind/ready
  export EVENKEEL_NODE_IMAGE="${EVENKEEL_NODE_IMAGE:-kindest/node:v1.34.4}"
elif ! command -v kind >/dev/null || ! docker info >/dev/null 2>&1; then
  echo "SKIPPED: the experiments on a real cluster, since kind and a running Docker engine are not both here"
  exit 0
fi

static="$(scripts/build-static.sh | tail -1)"
trap '"$static" kind down "$name" || true' EXIT
"$static" kind up "$config" --name "$name"
export EVENKEEL_BIN="$static" EVENKEEL_TEST_ON="kind:$name"
if [ -z "${EVENKEEL_TEST_ONLY:-}${EVENKEEL_TEST_ROUNDS:-}${EVENKEEL_TEST_INTERRUPT:-}" ]; then
  cargo test --locked --test conformance
  EVENKEEL_MATRIX_SAMPLE="${EVENKEEL_MATRIX_SAMPLE:-2}" cargo test --locked --test matrix
fi
cargo test --locked --test on_cluster
