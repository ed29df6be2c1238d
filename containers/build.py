"""Build the Apptainer images of the stages, those alone whose recipe changed, each with a JSON of what it holds.

Three layers, each kept by the hash of what it is made from: Debian (base), a stage's packages (software), braggworks.

example:
    .envs/workflow/bin/python containers/build.py learn scatter
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from braggworks.errors import MissingToolError, UserError
from braggworks.files import read_json, sha256_of, write_json
from braggworks.images import (
    base_hash,
    definition,
    image_state,
    lacks_rights,
    package_hash,
    read_record,
    recipe_hash,
    record_file,
    settings,
    software_hash,
)
from braggworks.paths import container_image, image_folder
from braggworks.preflight.environments import STAGES

ROOT = Path(__file__).resolve().parents[1]
SUITE = "bookworm"
# Fast to write and to read, and a tenth larger than the smallest.
_SQUASHFS = "-comp zstd -Xcompression-level 3"
_PYTHON_PACKAGES = (
    "from importlib.metadata import distributions as d;"
    "print('\\n'.join(sorted({f'{x.name.lower()}=={x.version}' for x in d()})))"
)


class Builder:
    """Builds into the folder of images; everything on the way lies in its folder `cache`."""

    def __init__(self, force: bool = False) -> None:
        self.log: Path | None = None
        self._shared = threading.Lock()
        self.images = image_folder().absolute()
        self.cache = self.images / "cache"
        self.force = force
        temporary = self.cache / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        self.environment = settings(os.environ)
        # What runs bind and hand on is nothing of an image's.
        for name in [name for name in self.environment if name.startswith(("APPTAINER_BIND", "APPTAINERENV_"))]:
            del self.environment[name]
        self.environment["PATH"] += ":/usr/sbin:/sbin"
        self.environment.setdefault("APPTAINER_TMPDIR", str(temporary))
        self.environment.setdefault("APPTAINER_CACHEDIR", str(self.cache / "apptainer"))
        self.environment.setdefault("PIP_CACHE_DIR", str(self.cache / "pip"))
        if lacks_rights():
            # debootstrap then binds the devices that it may not make.
            self.environment["container"] = "lxc"

    def last_words(self) -> str:
        """Return the last line of the step that began last."""
        if self.log is None or not self.log.exists():
            return ""
        lines = self.log.read_bytes()[-400:].decode("utf-8", "replace").splitlines()
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"{self.log.stem.split('-')[0]}: {words[:60]}"

    # --- layers ---

    def base(self) -> Path:
        """Return the image of Debian and Python, built if need be."""
        image = self.cache / f"base-{base_hash(ROOT)[:16]}.sif"
        with self._shared:
            if not image.exists():
                self._build(image, "containers/base.def", attempts=2, MIRROR=self._mirror(), SUITE=SUITE)
                self._forget("base-*.sif", image)
        return image

    def software(self, stage: str) -> Path:
        """Return the image of a stage's packages, built if need be."""
        name = software_hash(stage, ROOT)[:16]
        image = self.cache / f"{stage}-{name}.sif"
        content = image.with_suffix(".json")
        if self.force or not (image.exists() and content.exists()):
            wheels = self._wheels(stage)
            base = self.base()
            arguments = {"BASE": str(base), "WHEELS": str(wheels)}
            if stage == "pynx":
                arguments |= {"MIRROR": self._mirror(), "SUITE": SUITE}
            self._build(image, definition(stage), attempts=2 if stage == "pynx" else 1, **arguments)
            write_json(
                image.with_suffix(".json"), {path.name: sha256_of(path) for path in sorted(wheels.glob("*.whl"))}
            )
            shutil.rmtree(wheels)
            self._forget(f"{stage}-*.sif", image)
        return image

    def stage(self, stage: str) -> None:
        """Build a stage's image and write its record."""
        image, recipe = Path(container_image(stage)).absolute(), recipe_hash(stage, ROOT)
        software = self.software(stage)
        self._build(
            image,
            "containers/package.def",
            SOFTWARE=str(software),
            WHEEL=str(self._package()),
            STAGE=stage,
            RECIPE=recipe,
        )
        if recipe_hash(stage, ROOT) != recipe:
            raise UserError("Files changed during the build: run `make containers` again.")
        write_json(record_file(stage).absolute(), self._describe(stage, image, recipe, software))

    # --- what goes in ---

    def _mirror(self) -> str:
        return self._say(["containers/mirror.sh"]).strip()

    def _wheels(self, stage: str) -> Path:
        """Return a folder of the wheels that a stage's pins name; pip fetches them, and builds the few that need it."""
        folder = self.cache / "wheels" / stage
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        pins = ROOT / "envs" / f"{stage}.txt"
        command = [str(self._pip()), "-m", "pip", "wheel", "--quiet", "--retries", "10", "--wheel-dir", str(folder)]
        self._run([*command, "--requirement", str(pins)], f"wheels-{stage}", attempts=2)
        shutil.copy(pins, folder / "requirements.txt")
        return folder

    def _pip(self) -> Path:
        """Return a Python of the images' version that has pip."""
        python = self.cache / "pip-environment" / "bin" / "python"
        with self._shared:
            if not (python.parent / "pip").exists():
                version = os.environ.get("BRAGGWORKS_PYTHON", "3.11")
                uv = self._say(["envs/uv.sh"]).strip()
                environment = [uv, "venv", "--clear", "--seed", "--python", version, str(python.parents[1])]
                self._run(environment, "pip", attempts=2)
        return python

    def _package(self) -> Path:
        """Return the wheel of braggworks."""
        folder = self.cache / f"package-{package_hash(ROOT)[:16]}"
        with self._shared:
            if not list(folder.glob("*.whl")):
                uv = self._say(["envs/uv.sh"]).strip()
                build_wheel = [uv, "build", "--wheel", "--quiet", "--out-dir", str(folder), str(ROOT)]
                self._run(build_wheel, "package", attempts=2)
                self._forget("package-*", folder)
        return next(folder.glob("*.whl"))

    # --- what comes out ---

    def _describe(self, stage: str, image: Path, recipe: str, software: Path) -> dict[str, Any]:
        def inside(*command: str) -> str:
            return self._say(["apptainer", "exec", "--cleanenv", str(image), *command])

        files = ["containers/base.def", definition(stage), "containers/package.def", f"envs/{stage}.txt"]
        return {
            "stage": stage,
            "recipe": recipe,
            "software": software_hash(stage, ROOT),
            "package": package_hash(ROOT),
            "sha256": sha256_of(image),
            "bytes": image.stat().st_size,
            "made_from": {file: sha256_of(ROOT / file) for file in files},
            "wheels": read_json(software.with_suffix(".json")),
            "debian": inside("dpkg-query", "-W", "-f", "${Package}=${Version}\n").splitlines(),
            "python": inside("/opt/braggworks/bin/python", "-I", "-c", _PYTHON_PACKAGES).splitlines(),
            "apptainer": self._say(["apptainer", "--version"]).strip(),
        }

    def _build(self, image: Path, definition_file: str, attempts: int = 1, **arguments: str) -> None:
        image.parent.mkdir(parents=True, exist_ok=True)
        part = image.with_name(f".{image.name}.part")
        command = [sys.executable, "containers/as_root.py"] if lacks_rights() else []
        command += ["apptainer", "build", "--force", "--mksquashfs-args", _SQUASHFS]
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        try:
            self._run([*command, str(part), definition_file], image.stem, attempts)
            part.replace(image)
        finally:
            part.unlink(missing_ok=True)

    def _forget(self, pattern: str, kept: Path) -> None:
        """Remove older layers, which no recipe here names any more."""
        for path in self.cache.glob(pattern):
            if path.is_dir() and path != kept:
                shutil.rmtree(path)
            elif path.stem != kept.stem:
                path.unlink()
                path.with_suffix(".json").unlink(missing_ok=True)

    def _say(self, command: list[str]) -> str:
        result = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise UserError((result.stderr.strip().splitlines() or [f"{command[0]} failed."])[-1])
        return result.stdout

    def _run(self, command: list[str], name: str, attempts: int = 1) -> None:
        """Run a step, its words into a log; one that needs the network may be tried again."""
        log = self.cache / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(attempts):
            if attempt:
                time.sleep(5)
            with log.open("a" if attempt else "w", encoding="utf-8") as stream:
                self.log = log
                code = subprocess.run(
                    command, cwd=ROOT, env=self.environment, stdout=stream, stderr=subprocess.STDOUT, check=False
                ).returncode
            if code == 0:
                return
        said = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        told = [line for line in said if line.startswith(("FATAL", "E:", "ERROR", "error"))] or said[-1:] or ["nothing"]
        raise UserError(f"Building {name} failed: {told[0]} (everything it said: {log}).")


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the lock of the folder of images."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"Another build is at work in {folder}: wait until it has ended.") from None
        yield


def _build_all(builder: Builder, stages: list[str], optional: set[str]) -> None:
    """Build two images at a time, with a bar; the first failure of one that is needed stops what has not begun."""
    on_terminal = sys.stderr.isatty()
    interval = 0.5 if on_terminal else 30
    layout = "{percentage:3.0f}%|{bar:20}| {n}/{total} images [{elapsed}] {desc}"
    with (
        tqdm(total=len(stages), mininterval=interval, miniters=0, dynamic_ncols=on_terminal, bar_format=layout) as bar,
        ThreadPoolExecutor(2) as pool,
    ):
        # The longest are the last of the list, and begin.
        running = {pool.submit(builder.stage, stage): stage for stage in reversed(stages)}
        while running:
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            bar.set_description_str(builder.last_words(), refresh=False)
            bar.update(len(done))
            for future in done:
                stage = running.pop(future)
                try:
                    future.result()
                except UserError as error:
                    if stage not in optional:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    told = "No image of PyNX, so that runs in containers leave its comparison out."
                    bar.write(f"{told} {error}", file=sys.stderr)


def build(stages: list[str], force: bool) -> None:
    """Build what is not current; PyNX's image may fail, because everything else works without it."""
    wanted = [stage for stage in stages if force or image_state(stage, ROOT) != "current"]
    if not wanted:
        print(f"The images in {image_folder()} are up to date: {', '.join(stages)}.")
        return
    if not (shutil.which("apptainer", path=settings(os.environ)["PATH"])):
        raise MissingToolError("Apptainer is not on the PATH: run `make containers`, which installs it on Debian.")
    _build_all(Builder(force), wanted, optional={"pynx"} if len(stages) > 1 else set())
    for stage in wanted:
        record = read_record(stage)
        if record:
            print(f"{container_image(stage)}: {record['bytes'] / 1e6:.0f} MB, sha256 {record['sha256'][:16]}...")


def main() -> int:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*STAGES, "pynx"]
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"which; all without one: {', '.join(every)}")
    parser.add_argument("--force", action="store_true", help="build the packages anew, even from the same recipe")
    args = parser.parse_args()
    if unknown := sorted(set(args.stages) - set(every)):
        parser.error(f"there is no stage {unknown[0]!r}: use {', '.join(every)}")
    os.chdir(ROOT)
    try:
        with one_at_a_time(image_folder()):
            build(args.stages or every, args.force)
    except UserError as error:
        print(f"containers: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
