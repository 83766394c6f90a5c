#!/usr/bin/env bash
# Ten minutes of fuzzing for each of: the experiment file, the record reader, the sandbox's API. Another seed each day;
# EVENKEEL_FUZZ_SEED gives a run again. What fails is kept in tests/corpus and is tried first from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

export EVENKEEL_FUZZ_SECONDS="${EVENKEEL_FUZZ_SECONDS:-600}"
export EVENKEEL_FUZZ_SEED="${EVENKEEL_FUZZ_SEED:-$(date +%Y%m%d)}"
echo "seed $EVENKEEL_FUZZ_SEED, $EVENKEEL_FUZZ_SECONDS s each"
cargo test --locked --test fuzz
