#!/usr/bin/env bash
# Builds the static evenkeel executable, which is both the command line and all that the container image holds, and
# prints its path. Runs on Linux with a Rust toolchain and a C compiler; takes no arguments. PROFILE=release is built
# sooner, and larger.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ]; then
  echo "build-static.sh: the image is for Linux nodes, so build it on Linux (or in a Linux container)" >&2
  exit 1
fi
# The machine's own architecture: kind's nodes are containers, so theirs is the same.
target="$(uname -m)-unknown-linux-gnu"
profile="${PROFILE:-dist}"

# Naming the target keeps the flag away from build scripts and procedural macros, which cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  cargo build --locked --profile "$profile" --bin evenkeel --target "$target" >&2

folder="$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')"
echo "$folder/$target/$profile/evenkeel"
