"""From the workflow's log and its jobs' logs to a sentence, the end of a log, and the next step."""

from __future__ import annotations

from pathlib import Path

import pytest

from braggworks.failures import failure_sentence, log_tail
from braggworks.monitoring.workflow_log import parse_workflow_log, read_workflow_log

HEAD = """Using profile workflow/profiles/local for setting default command line arguments.

SNAKEMAKE
=========
  Date: 2026-11-21 11:42:54
  Command: python -m snakemake --configfile my/run.yaml --cores 2 --profile workflow/profiles/local
  Run directory: /somewhere

Provided cores: 2
Job stats:
job              count
-------------  -------
relax_batch          9
all                  1
total               10

Select jobs to execute...
"""


def start(number: int, rule: str = "relax_batch", batch: str = "00003") -> str:
    return f"""
[Sat Nov 21 11:42:55 2026]
rule {rule}:
    input: r/campaigns/c/crystals/batch-{batch}.h5
    output: r/campaigns/c/relaxed/batch-{batch}.h5
    log: r/logs/{rule}/c/{batch}.log
    jobid: {number}
    wildcards: campaign=c, batch={batch}
    threads: 2
    resources: tmpdir=/tmp, runtime=60, mem_mb=1500, mem=1.5 GB
Shell command: braggworks relax --recipe '{{"a":1}}' > r/logs/{rule}/c/{batch}.log 2>&1
"""


def error(
    number: int, rule: str = "relax_batch", batch: str = "00003", message: str = "None", slurm: str = "", log: str = ""
) -> str:
    logs = f"r/logs/{rule}/c/{batch}.log" + (f", {log}" if log else "")
    return f"""[Sat Nov 21 11:43:00 2026]
Error in rule {rule}:
    message: {message}
    jobid: {number}
    input: r/campaigns/c/crystals/batch-{batch}.h5
    output: r/campaigns/c/relaxed/batch-{batch}.h5
    log: {logs} (check log file(s) for error details)
    shell:
        braggworks relax --recipe '{{"a":1}}' > r/logs/{rule}/c/{batch}.log 2>&1
        (command exited with non-zero exit code)
""" + (f"    external_jobid: {slurm}\n" if slurm else "")


def ended(how: str, rule: str = "relax_batch", batch: str = "00003") -> str:
    return f"""RuleException:
CalledProcessError in file "/somewhere/workflow/rules/relax.smk", line 26:
Command 'set -euo pipefail;  braggworks relax > r/logs/{rule}/c/{batch}.log 2>&1' {how}.
"""


class Run:
    """A folder with a workflow log and logs of jobs, as a run leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "workflow.log"

    def say(self, *parts: str) -> None:
        self.log.write_text(HEAD + "".join(parts))

    def job_log(self, text: str, rule: str = "relax_batch", batch: str = "00003") -> None:
        path = self.folder / "r" / "logs" / rule / "c" / f"{batch}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @property
    def lines(self) -> list[str]:
        return failure_sentence(self.log).splitlines()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return Run(tmp_path)


def test_a_jobs_own_sentence_is_told_once(run: Run) -> None:
    run.say(start(4), ended("returned non-zero exit status 2"), error(4))
    run.job_log("braggworks relax: The potential is missing: name another.\n")
    sentence, *more = run.lines
    assert sentence.startswith(
        "the workflow stopped, because relax_batch of campaign c, batch 00003 failed: "
        "braggworks relax: The potential is missing: name another."
    )
    assert sentence.endswith(f"(everything it said: {run.log})")
    assert more == ["Its log: r/logs/relax_batch/c/00003.log"]


def test_a_job_that_slurm_refused_is_told_by_its_words(run: Run) -> None:
    refused = "SLURM sbatch failed. The error message was 'sbatch: error: invalid partition specified: gpu"
    run.say(start(4), error(4, message=refused))
    assert "was not taken by Slurm (sbatch: error: invalid partition specified: gpu): correct" in run.lines[0]


def test_a_traceback_is_quoted_from_its_end(run: Run) -> None:
    run.say(start(4), ended("returned non-zero exit status 1"), error(4))
    lines = [f'  File "x.py", line {number}, in f' for number in range(40)]
    run.job_log("\n".join(["Traceback (most recent call last):", *lines, "ZeroDivisionError: division by zero", ""]))
    sentence, head, *quoted = run.lines
    assert "batch 00003 failed with ZeroDivisionError: division by zero, which it did not expect." in sentence
    assert head == "The end of its log, r/logs/relax_batch/c/00003.log:"
    assert len(quoted) == 10
    assert quoted[-1] == "  | ZeroDivisionError: division by zero"
    assert quoted[0] == f"  | {lines[-9]}"


@pytest.mark.parametrize(
    "words",
    [
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 3 GiB",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "ImportError: _core.cpython-311-x86_64-linux-gnu.so: failed to map segment from shared object",
        "RuntimeError: can't start new thread",
    ],
)
def test_a_librarys_words_about_memory_are_understood(run: Run, words: str) -> None:
    run.say(start(4), ended("returned non-zero exit status 1"), error(4))
    run.job_log(f"Traceback (most recent call last):\n{words}\n")
    assert "ran out of memory: use fewer --cores or free some memory, and run the same command again." in run.lines[0]


@pytest.mark.parametrize("width", [300, 100_000])
def test_a_quote_is_bounded(run: Run, width: int) -> None:
    run.say(start(4), ended("returned non-zero exit status 1"), error(4))
    run.job_log("\n".join("é" * width + str(number) for number in range(30)))
    quoted = run.lines[2:]
    assert 1 <= len(quoted) <= 10
    assert sum(len(line.encode()) for line in quoted) < 2_100


def test_a_progress_bar_is_quoted_in_its_last_state(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"start\r\n 10%\r 50%\r\x1b[31m100%\x1b[0m\n\nepoch 3\x07\n")
    assert log_tail(str(log)) == ["start", "100%", "epoch 3"]
    assert log_tail(str(tmp_path / "none")) == log_tail(None) == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("returned non-zero exit status 137", ["was killed, most likely because memory ran out", "use fewer --cores"]),
        ("died with <Signals.SIGKILL: 9>", ["was killed, most likely because memory ran out"]),
        ("returned non-zero exit status 143", ["was ended from outside by SIGTERM: run the same command again"]),
        ("returned non-zero exit status 139", ["crashed (SIGSEGV)"]),
        ("returned non-zero exit status 127", ["failed with exit code 127 before it wrote to its log: module: no"]),
    ],
)
@pytest.mark.parametrize("text", ["", None])
def test_an_empty_log_is_explained(run: Run, how: str, words: list[str], text: str | None) -> None:
    run.say(start(4), "module: no such module\n", ended(how), error(4))
    if text is not None:
        run.job_log(text)
    for word in words:
        assert word in run.lines[0]
    assert run.lines[1:] == ["Its log: r/logs/relax_batch/c/00003.log"]


def test_a_killed_job_is_no_failed_one_because_it_said_something(run: Run) -> None:
    run.say(start(4), ended("returned non-zero exit status 137"), error(4))
    run.job_log(" 10%| 3/30\r 20%| 6/30")
    assert "was killed" in run.lines[0]
    assert run.lines[2:] == ["  |  20%| 6/30"]


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        ("OUT_OF_MEMORY", "", ["ran out of memory in Slurm job 77 (it asked for 1500 MB of memory and 60 minutes)"]),
        (
            "FAILED",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=77.0.",
            ["ran out of memory in Slurm job 77"],
        ),
        ("TIMEOUT", "", ["ran out of time", "--snakemake=--set-resources=relax_batch:mem_mb=N", "runtime=N"]),
        ("CANCELLED", "slurmstepd: error: *** JOB 77 ON n1 CANCELLED AT 1 DUE TO TIME LIMIT ***", ["ran out of time"]),
        ("CANCELLED by 0", "", ["was cancelled in Slurm job 77: run the same command again"]),
        ("NODE_FAIL", "", ["lost its node in Slurm job 77"]),
        ("FAILED", "srun: error: unable to start", ["failed: srun: error: unable to start."]),
        ("FAILED", "", ["left an empty log", "give it more"]),
    ],
)
def test_a_slurm_job_is_told_by_its_status_and_log(run: Run, status: str, said: str, words: list[str]) -> None:
    message = f"SLURM-job '77' failed, SLURM status is: '{status}'. For further error details see the log."
    submitted = "Job 4 has been submitted with SLURM jobid 77 (log: slurm/77.log).\n"
    run.say(start(4), submitted, error(4, message=message, slurm="77", log="slurm/77.log"))
    (run.folder / "slurm").mkdir()
    (run.folder / "slurm" / "77.log").write_text(said)
    for word in words:
        assert word in run.lines[0]
    if said:
        assert run.lines[1:] == ["The end of its log, slurm/77.log:", f"  | {said}"]


def test_on_slurm_the_exit_code_is_read_from_slurms_log(run: Run) -> None:
    message = "SLURM-job '77' failed, SLURM status is: 'FAILED'. Detailed failure reason unavailable."
    run.say(start(4), error(4, message=message, slurm="77", log="77.log"))
    killed = f"/usr/bin/bash: line 1: 19552 Killed    braggworks relax --recipe {'x' * 1000}\n"
    inner = [HEAD, start(0), HEAD, start(0), killed, ended("returned non-zero exit status 137"), error(0)]
    (run.folder / "77.log").write_text(
        "".join([*inner, "srun: error: vm: task 0: Exited with exit code 1\n", error(0)])
    )
    sentence, head, line = run.lines
    assert "batch 00003 was killed in Slurm job 77, most likely because memory ran out (it asked for" in sentence
    assert "1500 MB of memory and 60 minutes): give it more" in sentence
    assert head == "The end of its log, 77.log:"
    assert line.startswith("  | /usr/bin/bash: line 1: 19552 Killed    braggworks relax")
    assert len(line) < 310


def test_the_first_failure_is_told_in_full_and_five_others_by_name(run: Run) -> None:
    batches = [f"{number:05d}" for number in range(8)]
    parts = [start(number, batch=batch) for number, batch in enumerate(batches)]
    parts += [error(number, batch=batches[number]) for number in (5, 0, 1, 2, 3, 4, 6, 7)]
    run.say(*parts)
    for batch in batches:
        run.job_log(f"braggworks relax: Batch {batch} is wrong.\n", batch=batch)
    sentence, log, head, *named = run.lines
    assert "batch 00005 failed: braggworks relax: Batch 00005 is wrong." in sentence
    assert log == "Its log: r/logs/relax_batch/c/00005.log"
    assert head == "Failed, too:"
    assert named[0] == "  relax_batch of campaign c, batch 00000 (r/logs/relax_batch/c/00000.log)"
    assert len(named) == 6
    assert named[-1] == "  and 2 more"


def test_a_job_that_was_started_again_has_not_failed(run: Run) -> None:
    run.say(
        start(4), start(5, batch="00005"), error(4), "Trying to restart job 4.\n", start(4), error(5, batch="00005")
    )
    log = read_workflow_log(run.log)
    assert [job.name for job in log.in_state("failed")] == ["relax_batch of campaign c, batch 00005"]
    assert [job.name for job in log.in_state("started")] == ["relax_batch of campaign c, batch 00003"]


def test_what_a_failed_jobs_log_says_is_not_taken_for_snakemakes_words(run: Run) -> None:
    quoted = "=======\nFinished jobid: 5 (Rule: x)\nrule x:\n    jobid: 9\n=======\n"
    head = "Logfile r/logs/relax_batch/c/00003.log:\n"
    run.say(start(4), start(5, batch="00005"), error(4), head, quoted, "Finished jobid: 4711 (Rule: y)\n")
    log = read_workflow_log(run.log)
    assert {number: job.state for number, job in log.jobs.items()} == {4: "failed", 5: "started"}


def test_the_head_of_a_log_is_read() -> None:
    log = parse_workflow_log([*HEAD.splitlines(), "Finished"])
    assert (log.planned, log.slots, log.on_slurm) == ({"relax_batch": 9, "all": 1}, 2, False)
    assert (log.config, log.folder, log.began) == ("my/run.yaml", "/somewhere", "2026-11-21 11:42:54")


def test_without_a_failed_job_snakemakes_own_words_are_told(run: Run) -> None:
    run.say("Error: cores have to be specified for your execution\n")
    assert "the workflow stopped. Error: cores have to be specified" in run.lines[0]
    assert len(run.lines) == 1
    run.log.write_text("")
    assert run.lines[0].startswith("the workflow stopped.")
