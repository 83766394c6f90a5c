#!/usr/bin/env bash
# Opens a report in a real browser, headless, and looks at what people would see: verdict first, nothing beyond the
# screen's width, hover and zoom at work, light and dark, on a phone and on paper, no request to any network, and foreign
# text that stays text. Without RUN an experiment is run in the sandbox and its record is filled with hostile text.
#
#   scripts/check-report.sh [RUN] [SCREENSHOTS]
#
# EVENKEEL names the executable, CHROMIUM the browser. Exit code 77: there is no browser or no python3 here.
set -euo pipefail
cd "$(dirname "$0")/.."
browser=${CHROMIUM:-}
for name in chromium chromium-browser google-chrome google-chrome-stable; do
    [ -n "$browser" ] || browser=$(command -v "$name" || true)
done
if [ -z "$browser" ] || ! command -v python3 >/dev/null; then
    echo "check-report: skipped: it needs Chromium (CHROMIUM names it) and python3" >&2
    exit 77
fi
evenkeel=${EVENKEEL:-${CARGO_TARGET_DIR:-target}/debug/evenkeel}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
run=${1:-}
if [ -z "$run" ]; then
    # A twin is broken, and on a busy machine inconclusive; both have a record with losses.
    "$evenkeel" run experiments/_broken/c2-no-prestop.yaml --out "$scratch/out" >"$scratch/told" 2>&1 || case $? in
        1 | 3) ;;
        *) cat "$scratch/told" >&2; exit 1 ;;
    esac
    run=$scratch/out/c2-no-prestop
    scripts/check-report/poison.py "$run"
fi
"$evenkeel" report "$run" >/dev/null
scripts/check-report/browse.py "$browser" "$run/report.html" "${2:-$scratch/shots}"
