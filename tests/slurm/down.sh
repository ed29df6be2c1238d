#!/usr/bin/env bash
# usage: tests/slurm/down.sh [--controller] [--keep] [FOLDER]
#
# Cancel the jobs of the Slurm in FOLDER, stop what up.sh started there, and delete FOLDER unless --keep is given.
# --controller stops the controller alone, as in an outage: jobs go on, and up.sh starts it again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
keep= controller= folder=
for argument; do
  case $argument in
    --keep) keep=1 ;;
    --controller) controller=1 ;;
    *) folder=$argument ;;
  esac
done
folder=${folder:-${BRAGGWORKS_SLURM:-${TMPDIR:-/tmp}/braggworks-slurm}}
[ -f "$folder/slurm.conf" ] || exit 0
folder=$(cd "$folder" && pwd)
# shellcheck source=tests/slurm/daemons.sh
source "$here/daemons.sh"
exec 9>"$folder/lock"
flock 9
if [ -n "$controller" ]; then
  stop slurmctld
  exit
fi
export SLURM_CONF=$folder/slurm.conf
if alive slurmctld; then
  timeout 20 scancel --user="$(id -un)" || true
  # Jobs outlive slurmd, so that they must end before it does.
  for _ in $(seq 100); do
    [ -z "$(timeout 5 squeue --noheader 2>/dev/null)" ] && break
    sleep 0.2
  done
fi
stop slurmd
stop slurmctld
stop munge
[ -n "$keep" ] || rm -rf "$folder"
