"""Run a command as root of a new user namespace, where a container's root lacks rights that Apptainer asks for.

Ids 0 to 65535 keep their numbers, so that packages can give files to other users. Needs root.

example:
    python containers/as_root.py apptainer build image.sif image.def
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_NEW_USER, _NEW_MOUNT = 0x10000000, 0x00020000


def main() -> int:
    """Start the command that the arguments give, and return its exit status."""
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    to_parent, to_child = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_NEW_USER | _NEW_MOUNT):
            print(f"no user namespace can be made: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            os._exit(1)
        os.write(to_parent[1], b"?")
        # Only the parent, outside the namespace, may write its map of ids.
        os.read(to_child[0], 1)
        os.setgid(0)
        os.setuid(0)
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
    os.close(to_parent[1])
    if os.read(to_parent[0], 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text("0 0 65536\n")
        os.write(to_child[1], b"!")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
