#!/usr/bin/env bash
# Runs the model's stages against the fixtures made by the reference, and prints the parity table: of each stage, the tensor that comes closest to its
# tolerance. TRELLIS_GOLDEN names another folder of fixtures; TRELLIS_TEST_DEVICE=cuda runs the models on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT
result=0
cargo test --release --quiet --workspace --no-fail-fast --test 'golden*' -- --nocapture >"$log" 2>&1 || result=$?
[ $result = 0 ] || grep -v '^parity' "$log"
grep '^parity.* skipped: ' "$log" || true

scripts/parity-table.sh <"$log"
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$log"
exit $result
