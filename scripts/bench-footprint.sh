#!/usr/bin/env bash
# CPU and memory of evenkeel itself during a run: 200 requests/s from outside, all watches on.
#   scripts/bench-footprint.sh kind:NAME        EVENKEEL_BIN is the executable
# The aim: at most 5 % of one core and 60 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
on="${1:?usage: scripts/bench-footprint.sh kind:NAME}"
bin="${EVENKEEL_BIN:?set EVENKEEL_BIN to the executable, such as the path that scripts/build-static.sh prints}"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
sed 's/drain:/wait: {time: 30s}/; /nodes: {names/d; /ignoreDaemonsets/d; /deleteEmptydirData/d' scripts/bench/drain.yaml >"$work/quiet.yaml"
"$bin" run "$work/quiet.yaml" --on "$on" --out "$work/run" >"$work/log" 2>&1 &
pid=$!
ticks="$(getconf CLK_TCK)"
until grep -q 'phase fault' "$work/log"; do kill -0 "$pid" || { cat "$work/log" >&2; exit 1; }; sleep 0.2; done
cpu() { awk '{print $14 + $15}' "/proc/$pid/stat"; }
before="$(cpu)"; began="$(date +%s.%N)"
until grep -q 'phase undo' "$work/log"; do
  now="$(cpu)"; ended="$(date +%s.%N)"
  peak="$(awk '/VmHWM/ {print $2}' "/proc/$pid/status")"
  sleep 0.5
done
wait "$pid"
awk -v t="$ticks" -v a="$before" -v b="$now" -v s="$began" -v e="$ended" -v m="$peak" \
  'BEGIN {printf "%.1f %% of one core over %.0f s, peak memory %.1f MB\n", (b - a) / t / (e - s) * 100, e - s, m / 1024}'
