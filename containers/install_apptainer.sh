#!/usr/bin/env bash
# usage: containers/install_apptainer.sh     Unpack Apptainer, and what it builds with, into .envs/apptainer.
# Debian 12 has no Apptainer. The package of a later suite is unpacked with that suite's own C library beside it, so
# that the system stays as it is, and no root is needed. What is on the PATH already is used as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${BRAGGWORKS_ENVS:-.envs}/apptainer
later=${BRAGGWORKS_APPTAINER_SUITE:-sid}

missing() {
  local program
  for program in "$@"; do
    PATH="$prefix/bin:$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || return 0
  done
  return 1
}

missing apptainer mksquashfs unsquashfs debootstrap || exit 0
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if ! command -v apt-get >/dev/null || [ "$(. /etc/os-release && echo "$ID")" != debian ] || [ -z "$suite" ]; then
  echo "apptainer, mksquashfs and debootstrap are not all on the PATH, and this is no Debian: install them, or copy" \
    "images that were built on Debian into the folder BRAGGWORKS_IMAGES." >&2
  exit 1
fi

echo "installing Apptainer into $prefix" >&2
mirror=$(containers/mirror.sh)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Lists and caches of its own: the machine's package sources stay as they are.
mkdir -p "$work"/{lists/partial,cache/archives/partial,later,own,root/bin,root/lib/later,root/lib/own}
key=/usr/share/keyrings/debian-archive-keyring.gpg
printf "deb [signed-by=$key] $mirror %s main\n" "$suite" "$later" >"$work/sources.list"
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none
  -o APT::Get::List-Cleanup=0 -o Acquire::Retries=5)
"${apt[@]}" update
fetch() {
  local folder=$1 from=$2
  shift 2
  (cd "$work/$folder" && "${apt[@]}" download "${@/%//$from}" && for file in *.deb; do dpkg-deb -x "$file" .; done)
}
fetch later "$later" apptainer libc6 libseccomp2 libsqlite3-0
fetch own "$suite" squashfs-tools squashfuse libsquashfuse0 libfuse3-3 liblzo2-2 debootstrap patchelf

triplet=x86_64-linux-gnu
root=$work/root
cp -a "$work"/later/usr/. "$root/"
cp -a "$work"/later/{etc,var} "$root/"
cp -L "$work/later/usr/lib/$triplet"/{ld-linux-x86-64.so.2,lib{c,m,resolv,seccomp,nss_files,nss_dns}.so.*[0-9],libsqlite3.so.0} \
  "$root/lib/later/"
cp "$work"/own/usr/bin/{mksquashfs,unsquashfs,squashfuse_ll} "$root/bin/"
find "$work/own" -name 'lib*.so*' -exec cp -a {} "$root/lib/own/" \;
cp -a "$work/own/usr/share/debootstrap" "$root/share/"
cp "$work/own/usr/sbin/debootstrap" "$root/share/debootstrap/debootstrap"

# A prefix is used where it was made: programs hold its path.
mkdir -p "$(dirname "$prefix")"
final=$(realpath -m "$prefix")
cat >"$root/bin/debootstrap" <<SCRIPT
#!/bin/sh
DEBOOTSTRAP_DIR="$final/share/debootstrap" PATH="\$PATH:/usr/sbin:/sbin" exec sh "$final/share/debootstrap/debootstrap" "\$@"
SCRIPT
chmod +x "$root/bin/debootstrap"
patchelf=$work/own/usr/bin/patchelf
for program in "$root/bin/apptainer" "$root/lib/$triplet/apptainer/bin/starter"; do
  "$patchelf" --set-interpreter "$final/lib/later/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$final/lib/later" \
    "$program"
done
for program in "$root"/bin/{mksquashfs,unsquashfs,squashfuse_ll}; do
  "$patchelf" --force-rpath --set-rpath "$final/lib/own" "$program"
done
# A moved Apptainer looks for its settings and for its mount point below its lib folder.
mkdir -p "$root/lib/var/lib/apptainer/mnt/session"
ln -s ../etc "$root/lib/etc"

# Nothing half-made under the final name.
rm -rf "$prefix.part" "$prefix"
cp -a "$root" "$prefix.part"
mv "$prefix.part" "$prefix"
"$prefix/bin/apptainer" --version >&2
