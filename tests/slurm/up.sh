#!/usr/bin/env bash
# usage: eval "$(tests/slurm/up.sh [FOLDER])"     tests/slurm/down.sh [FOLDER]
#
# Start a real Slurm of one node in FOLDER (default: $BRAGGWORKS_SLURM, or braggworks-slurm in the temporary folder), and
# print the settings by which sbatch and the others find it. Run again, it starts what is missing. Everything, munge's key and
# socket too, lies in FOLDER and listens on free ports of 127.0.0.1: another Slurm on this machine is neither used nor touched.
#
# BRAGGWORKS_SLURM_CPUS and BRAGGWORKS_SLURM_MEMORY (MB) say what the node offers; more CPUs than there are is allowed.
# As root on Debian, missing packages are installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${BRAGGWORKS_SLURM:-${TMPDIR:-/tmp}/braggworks-slurm}}
packages=(slurmctld slurmd slurm-client munge)
export PATH="$PATH:/usr/sbin:/sbin"
# shellcheck source=tests/slurm/daemons.sh
source "$here/daemons.sh"

fail() {
  echo "up.sh: $*" >&2
  exit 2
}

install_packages() {
  local missing=() name
  for name in slurmctld slurmd sbatch munged; do command -v "$name" >/dev/null || missing+=("$name"); done
  [ ${#missing[@]} = 0 ] && return
  { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; } ||
    fail "${missing[*]} are missing: install Debian's packages ${packages[*]}."
  echo "installing ${packages[*]}" >&2
  # Where there is systemd, the packages would start a Slurm of their own.
  {
    apt-get update -qq
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
  } >"$folder/log/apt.log" 2>&1 || fail "apt-get could not install ${packages[*]}: see $folder/log/apt.log."
}

write_configuration() {
  local host ports cpus memory
  host=$(hostname -s)
  # The node's name must lead to this machine, from the node as from the job.
  getent hosts "$host" >/dev/null || { [ -w /etc/hosts ] && echo "127.0.0.1 $host" >>/etc/hosts; } ||
    fail "the host name $host leads nowhere: add it to /etc/hosts."
  read -r -a ports < <(free_ports 2)
  cpus=${BRAGGWORKS_SLURM_CPUS:-4}
  memory=${BRAGGWORKS_SLURM_MEMORY:-$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)}
  sed -e "s|@FOLDER@|$folder|g" -e "s|@USER@|$(id -un)|g" -e "s|@HOST@|$host|g" \
    -e "s|@CONTROLLER_PORT@|${ports[0]}|g" -e "s|@NODE_PORT@|${ports[1]}|g" \
    -e "s|@CPUS@|$cpus|g" -e "s|@MEMORY@|$memory|g" "$here/slurm.conf.in" >"$folder/slurm.conf"
}

umask 022
mkdir -p "$folder"/{munge,state,spool,log,run} || fail "cannot write below $folder."
folder=$(cd "$folder" && pwd)
[ -O "$folder" ] || fail "$folder belongs to another user: give a folder of your own."
chmod 755 "$folder" "$folder/munge"
exec 9>"$folder/lock"
flock 9
install_packages
[ -f "$folder/slurm.conf" ] || write_configuration
export SLURM_CONF=$folder/slurm.conf
# Inside a job the workflow's plugin forgets SLURM_CONF before it calls srun. What is there already may be on the PATH itself.
if [ ! -x "$folder/bin/srun" ]; then
  mkdir -p "$folder/bin"
  printf '#!/bin/sh\nSLURM_CONF="%s" exec "%s" "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/srun"
  chmod 755 "$folder/srun"
  mv "$folder/srun" "$folder/bin/srun"
fi
start munge
start slurmctld
start slurmd
wait_for_node || fail "the node did not become ready within a minute: see $folder/log."
printf 'export SLURM_CONF=%q\nexport PATH=%q:$PATH\n' "$SLURM_CONF" "$folder/bin"
