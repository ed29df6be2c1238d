#!/usr/bin/env bash
# usage: envs/install_pynx.sh     Make the environment .envs/pynx over the system's Python and its package python3-pynx.
# PyNX is in Debian (bookworm-backports, trixie and later); PyPI's package of that name is an unrelated tool.
# Without it everything else works, so this script says what is missing and ends well.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${BRAGGWORKS_ENVS:-.envs}/pynx
python=/usr/bin/python3

has_pynx() { [ -x $python ] && $python -c 'import pynx.scattering' >/dev/null 2>&1; }

install_from_debian() {
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && [ -z "${BRAGGWORKS_NO_APT:-}" ] || return 1
  local suite options=() list
  suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  [ -n "$suite" ] || return 1
  if [ "$suite" = bookworm ]; then
    # Backports is asked for this once, through a list of its own: the machine's sources stay as they are.
    local mirror
    mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/*.sources 2>/dev/null || true)
    mirror=${mirror:-$(awk '$1 == "deb" && $2 !~ /^\[/ {print $2; exit}' /etc/apt/sources.list 2>/dev/null || true)}
    [ -n "$mirror" ] || return 1
    list=$(mktemp)
    trap 'rm -f "$list"' RETURN
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bookworm-backports main" >"$list"
    chmod 644 "$list"
    options=(-o "Dir::Etc::sourcelist=$list" -t bookworm-backports)
  fi
  echo "installing Debian's python3-pynx (about a minute)" >&2
  apt-get "${options[@]}" update -qq >&2 &&
    DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y -qq --no-install-recommends python3-pynx >/dev/null
}

if ! has_pynx && ! { install_from_debian && has_pynx; }; then
  echo "PyNX is not here: the runs go on without the comparison of engines." \
    "To have it, install Debian's python3-pynx (bookworm-backports, trixie or later) as root and run: make pynx" >&2
  exit 0
fi

uv=$(envs/uv.sh)
echo "making the environment $folder" >&2
"$uv" venv --quiet --clear --python $python --system-site-packages "$folder"
"$uv" pip install --quiet --compile-bytecode --python "$folder/bin/python" --requirement envs/pynx.txt
"$uv" pip install --quiet --python "$folder/bin/python" --no-deps --editable .
touch "$folder/.ready"
