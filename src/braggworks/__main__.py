"""`python -m braggworks`, for launchers such as torchrun."""

from braggworks.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
