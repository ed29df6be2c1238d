#!/usr/bin/env bash
# usage: containers/mirror.sh     Print the Debian mirror of this machine's apt; BRAGGWORKS_DEBIAN_MIRROR goes first.
set -euo pipefail
mirror=${BRAGGWORKS_DEBIAN_MIRROR:-}
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources; do
  [ -n "$mirror" ] || [ ! -f "$file" ] || mirror=$(awk '$1 == "URIs:" {print $2; exit}' "$file")
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  # deb [options] URI suite component: the options may hold spaces.
  [ -n "$mirror" ] || [ ! -f "$file" ] ||
    mirror=$(sed -nE 's/^deb +(\[[^]]*\] +)?([^ ]+) .*/\2/p' "$file" | head -n 1)
done
if [ -z "$mirror" ]; then
  echo "No Debian mirror is set on this machine: give its address in BRAGGWORKS_DEBIAN_MIRROR." >&2
  exit 1
fi
echo "$mirror"
