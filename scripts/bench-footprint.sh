#!/usr/bin/env bash
# CPU and memory of evenkeel itself during a run: 200 requests/s from outside with all watches on, once over connections
# that are kept and once with a new connection for each request. The kernel's share of the CPU is told apart,
# since a new connection through a published port costs mostly there.
#   scripts/bench-footprint.sh kind:NAME        EVENKEEL_BIN is the executable
# The aim: at most 5 % of one core and 60 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
on="${1:?usage: scripts/bench-footprint.sh kind:NAME}"
bin="${EVENKEEL_BIN:?set EVENKEEL_BIN to the executable, such as the path that scripts/build-static.sh prints}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
ticks="$(getconf CLK_TCK)"

measure() {
  local name="$1" connections="$2" pid before began now ended peak
  sed 's/drain:/wait: {time: 30s}/; /nodes: {names/d; /ignoreDaemonsets/d; /deleteEmptydirData/d' scripts/bench/drain.yaml |
    sed "s/connections: new/connections: $connections/" >"$work/$name.yaml"
  "$bin" run "$work/$name.yaml" --on "$on" --out "$work/$name" >"$work/log" 2>&1 &
  pid=$!
  until grep -q 'phase fault' "$work/log"; do kill -0 "$pid" || { cat "$work/log" >&2; exit 1; }; sleep 0.2; done
  cpu() { awk '{print $14, $15}' "/proc/$pid/stat"; }
  before="$(cpu)"; began="$(date +%s.%N)"
  until grep -q 'phase undo' "$work/log"; do
    now="$(cpu)"; ended="$(date +%s.%N)"
    peak="$(awk '/VmHWM/ {print $2}' "/proc/$pid/status")"
    sleep 0.5
  done
  wait "$pid"
  echo "$name $before $now $began $ended $peak" | awk -v t="$ticks" '{
    s = $7 - $6; user = ($4 - $2) / t / s * 100; kernel = ($5 - $3) / t / s * 100
    printf "%-7s %.1f %% of one core (%.1f evenkeel, %.1f the kernel) over %.0f s, peak memory %.1f MB\n", $1, user + kernel, user, kernel, s, $8 / 1024
  }'
}

measure reused '{reused: 20}'
measure new new
