#!/usr/bin/env bash
# Formatting, clippy, licences, generated files, charts. Each check is run even when one before it failed.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
check() { # name command...
    local name=$1 started=$SECONDS
    shift
    if "$@"; then
        printf '%-28s ok (%d s)\n' "$name" $((SECONDS - started))
    else
        printf '%-28s FAILED: %s\n' "$name" "$*"
        failed+=("$name")
    fi
}

cargo_deny=0.20.2
if ! cargo deny --version 2>/dev/null | grep -q " $cargo_deny\$"; then
    echo "Building cargo-deny $cargo_deny, once (about 5 minutes on 2 cores) ..."
    cargo install cargo-deny --version $cargo_deny --locked --quiet --root "$TRELLIS_CACHE/tools" || exit 1
fi

run() { # program arguments...
    local program=$1
    shift
    cargo build --release --quiet --workspace --bin "$program" && "$CARGO_TARGET_DIR/release/$program" "$@"
}

charts() {
    local helm kubeconform
    helm=$(run cluster tool helm) && kubeconform=$(run cluster tool kubeconform) && charts/lint.sh "$helm" "$kubeconform"
}

# rustls picks its provider by itself only while there is one; `ring` may stand in the lock file for other platforms, but nothing here may build it.
one_tls_provider() {
    [ -z "$(cargo tree --workspace --edges normal,build --prefix none 2>/dev/null | grep -E '^(ring|openssl-sys|native-tls) ')" ]
}

# What lies in api/ui/dist is what its sources make.
page() {
    local built same=0
    built=$(mktemp -d)
    scripts/ui.sh "$built" && diff -rq "$built" api/ui/dist || { same=1; echo "run make ui, and commit what it writes"; }
    rm -rf "$built"
    return $same
}

check formatting cargo fmt --all --check
check clippy cargo clippy --release --quiet --workspace --all-targets -- --deny warnings
check "licences and bans" cargo deny --offline --log-level error check bans licenses sources
check "one TLS provider" one_tls_provider
check "generated files" run crdgen --check
check "web page" page
check charts charts
check "asset files" scripts/validate-assets.sh

[ ${#failed[@]} = 0 ] || {
    echo "lint: ${failed[*]} failed"
    exit 1
}
