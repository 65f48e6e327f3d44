#!/usr/bin/env bash
# Lets schemathesis make requests of every kind from the service's own OpenAPI document, and checks each answer against it.
# Usage: scripts/schemathesis.sh URL KEY [options of schemathesis run]
# It is installed once, pinned, into $TRELLIS_CACHE.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${1:?which address?} key=${2:?which API key?}
shift 2
cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
tools=$cache/schemathesis-$(sha256sum scripts/schemathesis.txt | head -c 12)
if ! [ -e "$tools/.complete" ]; then
    echo "Installing schemathesis, once (100 MB) ..." >&2
    mkdir -p "$cache"
    made=$(mktemp -d "$cache/schemathesis.XXXXXX")
    python3 -m venv "$made"
    "$made/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement scripts/schemathesis.txt
    touch "$made/.complete"
    # In one step: another run may be doing the same.
    mv -T "$made" "$tools" 2>/dev/null || rm -rf "$made"
    [ -e "$tools/.complete" ]
fi

config=$PWD/scripts/schemathesis.toml
# Examples that were found are not kept: a run does the same everywhere. Nor does it matter how fast the machine is,
# and an answer may wait for a minute where `Prefer: wait=60` asks for that.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$tools/bin/python" -m schemathesis.cli --config-file "$config" run "$url/openapi.json" --url "$url" --header "Authorization: Bearer $key" \
    --checks all --seed 1 --request-timeout 90 --max-response-time 90 --suppress-health-check too_slow "$@"
