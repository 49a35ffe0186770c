#!/bin/sh
# Searches for inputs that break what must hold for any input: SECONDS (60) for each target.
#
# Usage: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# It needs a nightly Rust and cargo-fuzz; where one is missing it says so and succeeds, because the
# kept corpus is run by the ordinary tests in any case. New inputs are kept outside the repository;
# `fuzz/corpus` changes only by hand.
set -eu
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- frames token config

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: skipped, there is no nightly Rust (rustup toolchain install nightly)"
    exit 0
fi
if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
    echo "fuzz: skipped, there is no cargo-fuzz (cargo install cargo-fuzz)"
    exit 0
fi

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target; do
    echo "fuzz: $target for $seconds s"
    mkdir "$found/$target"
    if ! cargo +nightly fuzz run "$target" "$found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=8192 -timeout=5 >"$found/log" 2>&1; then
        tail -n 100 "$found/log"
        exit 1
    fi
done
echo "fuzz: nothing found"
