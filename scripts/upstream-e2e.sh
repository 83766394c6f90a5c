#!/usr/bin/env bash
# Upstream's own end-to-end tests, those marked Conformance of what the sandbox serves, against a fresh sandbox.
#   scripts/upstream-e2e.sh [FOCUS]    EVENKEEL_E2E_TEST names Kubernetes' e2e.test v1.34.4; EVENKEEL_BIN evenkeel
#   EVENKEEL_E2E_SKIP leaves specs out whose name matches; those that fail take up to ten minutes each
# Prints each spec that does not pass and the count. The aim: at least 40 of 56; the others stand in
# docs/sandbox-fidelity.md.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="${EVENKEEL_BIN:?set EVENKEEL_BIN to the executable, such as target/release/evenkeel}"
focus="${1:-(\[sig-apps\] (Deployment|ReplicaSet|DisruptionController|StatefulSet|Daemon set|Job) .*Conformance|\[sig-network\] EndpointSlice.*Conformance|\[sig-node\] Lease.*Conformance)}"
work="$(mktemp -d)"
sandbox=""
cleanup() {
  [ -z "$sandbox" ] || { kill -INT "$sandbox" 2>/dev/null || true; wait "$sandbox" || true; }
  [ -n "${EVENKEEL_E2E_KEEP:-}" ] || rm -rf "$work"
}
trap cleanup EXIT

test="${EVENKEEL_E2E_TEST:-}"
if [ -z "$test" ] && [ -f ../shared/kind/e2e.test.zst ]; then
  test="$work/e2e.test"
  zstd -q -d --long=30 --memory=2048MB -o "$test" ../shared/kind/e2e.test.zst
  chmod +x "$test"
fi
if [ -z "$test" ]; then
  echo "SKIPPED: upstream's tests, since EVENKEEL_E2E_TEST does not name e2e.test"
  exit 0
fi

"$bin" sandbox up --nodes 3 --stand-in '*' --host-programs >"$work/kubeconfig" 2>"$work/sandbox.log" &
sandbox=$!
until grep -qs 'is ready' "$work/sandbox.log"; do
  kill -0 "$sandbox" 2>/dev/null || { cat "$work/sandbox.log" >&2; exit 1; }
  sleep 0.1
done
# Specs one after another: several are about all nodes at once.
"$test" -kubeconfig "$work/kubeconfig" -provider skeleton -num-nodes 3 -kube-api-content-type application/json \
  -ginkgo.no-color -ginkgo.succinct -ginkgo.timeout "${EVENKEEL_E2E_TIMEOUT:-80m}" -ginkgo.junit-report "$work/junit.xml" \
  -ginkgo.focus "$focus" -ginkgo.skip "${EVENKEEL_E2E_SKIP:-^$}" >"$work/e2e.log" 2>&1 || true
[ -f "$work/junit.xml" ] || { tail -n 40 "$work/e2e.log" >&2; exit 1; }
python3 - "$work/junit.xml" <<'P'
import sys, xml.etree.ElementTree as tree
cases = [case for case in tree.parse(sys.argv[1]).getroot().iter("testcase") if case.get("name", "").startswith("[It]")]
ran = [case for case in cases if case.find("skipped") is None]
bad = [case for case in ran if case.find("failure") is not None or case.find("error") is not None]
for case in bad:
    print("FAILED:", case.get("name")[5:])
print(f"{len(ran) - len(bad)} passed, {len(bad)} failed")
P
[ -z "${EVENKEEL_E2E_KEEP:-}" ] || echo "kept: $work"
