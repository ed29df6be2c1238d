# Source this where there is no Lmod: it stands in for `module load braggworks/<stage>` by putting the environment of
# that stage, made by `make envs`, first on PATH. `braggworks run` has every bash of its jobs read it (BASH_ENV).
module() {
  case "$1" in
    purge) return 0 ;;
    load)
      local folder="${BRAGGWORKS_ENVS:-.envs}/${2#braggworks/}"
      if [ ! -x "$folder/bin/braggworks" ]; then
        if [ "$2" = braggworks/pynx ]; then
          echo "PyNX is not installed: install Debian's python3-pynx and run 'make pynx', or set comparison.when: never." >&2
        else
          echo "The environment $folder is missing: run 'make envs'." >&2
        fi
        return 1
      fi
      PATH="$(cd "$folder" && pwd)/bin:$PATH"
      export PATH
      ;;
    *)
      echo "module: only purge and load are known here." >&2
      return 1
      ;;
  esac
}
export -f module
