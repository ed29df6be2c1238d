#!/usr/bin/env bash
# usage: envs/uv.sh     Print the path of uv; where there is none, install it into .envs/uv first.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.13.8
own=${BRAGGWORKS_ENVS:-.envs}/uv

has_venv() { python3 -c 'import ensurepip' 2>/dev/null; }

install_uv() {
  echo "installing uv $version into $own" >&2
  # Debian's python3 comes without ensurepip until python3-venv is installed.
  if ! has_venv && ! python3 -m pip --version >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-venv" >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv; } >/dev/null
  fi
  if has_venv; then
    python3 -m venv "$own" >&2
    "$own/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$version" >&2
  elif python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip install --quiet --disable-pip-version-check --target "$own" "uv==$version" >&2
  else
    echo "Python has neither venv nor pip: install the package python3-venv, or put uv on the PATH." >&2
    exit 1
  fi
}

if [ ! -x "$own/bin/uv" ]; then
  if command -v uv >/dev/null; then
    command -v uv
    exit
  fi
  install_uv
fi
echo "$own/bin/uv"
