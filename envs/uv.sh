#!/usr/bin/env bash
# usage: envs/uv.sh     Print the path of uv; where there is none, install it into .envs/uv first.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.13.8
own=${BRAGGWORKS_ENVS:-.envs}/uv

if [ ! -x "$own/bin/uv" ]; then
  # Debian's python3 comes without ensurepip and pip until python3-venv is installed.
  if ! python3 -c 'import ensurepip' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "installing python3-venv" >&2
      { apt-get update -qq && apt-get install -y -qq python3-venv; } >&2
    else
      echo "Python lacks venv: ask for the package python3-venv, or put uv on the PATH as $own/bin/uv." >&2
      exit 1
    fi
  fi
  echo "installing uv $version into $own" >&2
  python3 -m venv "$own" >&2
  "$own/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version" >&2
fi
echo "$own/bin/uv"
