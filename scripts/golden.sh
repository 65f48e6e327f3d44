#!/usr/bin/env bash
# Runs the model's stages against the fixtures made by the reference, and prints the parity table.
# TRELLIS_GOLDEN names another folder of the same layout; TRELLIS_TEST_DEVICE=cuda runs them on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo test --release --quiet --workspace --test 'golden*' -- --nocapture
