# Sourced by up.sh and down.sh: the three daemons of the Slurm in $folder.

pid_file() { echo "$folder/run/$1.pid"; }

# Whether a daemon of this folder runs: its number may have gone to another program since, which its command line shows.
alive() {
  local pid
  pid=$(cat "$(pid_file "$1")" 2>/dev/null) || return 1
  [ -n "$pid" ] && tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$folder/"
}

free_ports() {
  python3 - "$1" <<'PYTHON'
import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(one.getsockname()[1] for one in held))
PYTHON
}

start() {
  alive "$1" && return
  # Descriptor 9 is the lock of this folder, which no daemon may keep.
  case $1 in
    munge)
      local key=$folder/munge/key
      [ -s "$key" ] || (umask 077 && head -c 1024 /dev/urandom >"$key")
      rm -f "$folder/munge/socket" "$folder/munge/socket.lock"
      munged --key-file="$key" --socket="$folder/munge/socket" --pid-file="$(pid_file munge)" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munge/seed" --force >/dev/null 2>&1 9>&-
      ;;
    slurmctld) slurmctld -f "$folder/slurm.conf" >/dev/null 2>&1 9>&- ;;
    slurmd) slurmd -f "$folder/slurm.conf" >/dev/null 2>&1 9>&- ;;
  esac || {
    echo "up.sh: $1 did not start: see $folder/log." >&2
    exit 2
  }
}

# Stop one daemon and wait until it is gone; a second argument is the signal.
stop() {
  local pid
  alive "$1" || return 0
  pid=$(cat "$(pid_file "$1")")
  kill "-${2:-TERM}" "$pid"
  for _ in $(seq 100); do
    [ -d "/proc/$pid" ] && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null || return 0
    sleep 0.1
  done
  kill -KILL "$pid"
}

wait_for_node() {
  for _ in $(seq 300); do
    case $(sinfo --noheader --partition=main --format=%T 2>/dev/null) in
      idle | mixed | allocated) return 0 ;;
      down* | drain*) scontrol update "nodename=$(hostname -s)" state=resume 2>/dev/null ;;
    esac
    sleep 0.2
  done
  return 1
}
