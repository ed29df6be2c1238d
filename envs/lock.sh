#!/usr/bin/env bash
# usage: envs/lock.sh     Write the exact pins envs/STAGE.txt, and conda's envs/STAGE.yaml, from pyproject.toml's extras.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(envs/uv.sh)
links=$(python3 -m pip config get global.find-links 2>/dev/null || true)
options=(--quiet --python-version 3.11 --no-header --no-annotate --no-emit-package braggworks)
for link in ${links:-${PIP_FIND_LINKS:-}}; do options+=(--find-links "$link"); done
for stage in workflow particles relax scatter learn figures pynx develop; do
  "$uv" pip compile "${options[@]}" --extra "$stage" --output-file "envs/$stage.txt" pyproject.toml >/dev/null
  # A local build's label (+cpu) would tie the pin to one machine.
  sed -i -E 's/^(torch==[0-9.]+)\+[a-z0-9.]+$/\1/' "envs/$stage.txt"
  # What torch's CUDA build brings is pinned by that build itself, and its CPU build does without.
  sed -i -E '/^(nvidia-|cuda-|triton==)/d' "envs/$stage.txt"
done
# The system's Python brings numpy with PyNX.
sed -i '/^numpy==/d' envs/pynx.txt

for stage in workflow particles relax scatter learn figures pynx; do
  {
    printf 'name: braggworks-%s\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.11\n  - pip\n' "$stage"
    # PyNX is not on a conda channel under this name; its own installer goes on top of this file.
    printf '  - pip:\n'
    sed 's/^/      - /' "envs/$stage.txt"
  } >"envs/$stage.yaml"
done
