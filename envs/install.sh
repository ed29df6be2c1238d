#!/usr/bin/env bash
# usage: envs/install.sh STAGE     Make the uv environment .envs/STAGE from the pins in envs/STAGE.txt.
set -euo pipefail
stage=$1
cd "$(dirname "$0")/.."
uv=$(envs/uv.sh)
folder=${BRAGGWORKS_ENVS:-.envs}/$stage

# Compiled at once: where Python writes no bytecode, every start would compile its packages again.
options=(--quiet --compile-bytecode --python "$folder/bin/python")

# uv does not read pip's settings, and a site may keep wheels of its own there.
links=$(python3 -m pip config get global.find-links 2>/dev/null || true)
links=${links:-${PIP_FIND_LINKS:-}}
for link in $links; do options+=(--find-links "$link"); done

echo "making the environment $folder" >&2
"$uv" venv --quiet --clear --python "${BRAGGWORKS_PYTHON:-3.11}" "$folder"
"$uv" pip install "${options[@]}" --requirement "envs/$stage.txt"
"$uv" pip install "${options[@]}" --no-deps --editable .
touch "$folder/.ready"
