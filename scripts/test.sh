#!/usr/bin/env bash
# Runs every test: unit, golden, API server, cluster. The last line counts them.
#
# The tests that need pods run against the local cluster, which is started here and stopped again unless it was up before.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Tests start these programs as processes.
cargo build --release --workspace --bin cluster --bin demo --bin trellis-api --bin trellis-operator --bin sim_workers || exit 1
cluster=$CARGO_TARGET_DIR/release/cluster
result=0
run_tests() { # cargo test's arguments...
    cargo test --release --workspace --no-fail-fast "$@" 2>&1 | tee -a "$log"
    [ "${PIPESTATUS[0]}" = 0 ] || result=1
}

started=
if [ "${CLUSTER:-}" != current ] && ! "$cluster" status --quiet; then
    started=yes
    trap 'rm -f "$log"; "$cluster" down' EXIT
    # Whether a cluster leaves anything behind shows only while there is none.
    run_tests --test cluster
fi
"$CARGO_TARGET_DIR/release/demo" --install-only || exit 1
run_tests

[ -z "$started" ] || { trap 'rm -f "$log"' EXIT; "$cluster" down || result=1; }
awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }' "$log" || result=1
exit "$result"
