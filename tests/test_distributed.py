"""Training in several processes: started, stopped, killed, and equal to training in one."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from releases import files_below, make_release
from training_inputs import NETWORK, arguments, recipe, same_run

from braggworks import cli
from braggworks.errors import ConfigError, UserError
from braggworks.files import read_json
from braggworks.networks import GAP_NETWORKS, build
from braggworks.training.devices import choose_device
from braggworks.training.exchange import Group
from braggworks.training.loop import Trainer
from braggworks.training.processes import run_processes
from braggworks.training.world import World, find_world, processor_threads

pytestmark = pytest.mark.alone

PROGRAM = [sys.executable, "-m", "braggworks"]
SRUN = {
    "SLURM_JOB_ID": "1234",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_NODELIST": "gpu[03-04,07],login1",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2),1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
# One piece per sample, so that rounding is the same; 5 does not divide the samples, nor 3 the 5.
EXACT = {"batch_size": 5, "micro_batch": 1}


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def losses(folder: Path) -> list[float]:
    with (folder / "state" / "steps.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


@pytest.fixture(autouse=True, scope="module")
def torch_settings():
    """Undo what a run in this process sets."""
    threads = torch.get_num_threads()
    yield
    torch.set_deterministic_debug_mode("default")
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("release"), batches=1)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, manifest):
    """Return the folder of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    assert cli.main(arguments(folder, manifest, recipe(**EXACT))) == 0
    return folder


# --- who was started ---


def test_processes_are_found_as_torchrun_and_srun_started_them():
    assert find_world({}, None) == find_world({}, 1) == World()
    assert find_world({}, 3) is None
    assert find_world(TORCHRUN, None) == World(1, 4, 1, 2, "env://")
    # A job of one task starts its processes itself.
    assert find_world({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, 2) is None
    world = find_world(SRUN, 5)
    assert world == World(3, 5, 1, 2, world.meeting, own_share=True)
    assert world.meeting.startswith("tcp://gpu03:")
    chosen = find_world({**SRUN, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}, None)
    assert chosen.meeting == "tcp://10.0.0.1:29500"


@pytest.mark.parametrize(
    ("environment", "asked", "sentence"),
    [
        (TORCHRUN, 2, "torchrun started 4 processes and --processes .* asks for 2"),
        ({"RANK": "0", "WORLD_SIZE": "1"}, 2, "torchrun started 1 process and"),
        (SRUN, 4, "srun started 5 processes"),
        ({**TORCHRUN, "RANK": "4"}, None, "no numbers that fit together"),
        ({**TORCHRUN, "WORLD_SIZE": "many"}, None, "no numbers that fit together"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, None, "no numbers that fit together"),
        ({}, 0, "use 1 or more"),
    ],
)
def test_other_numbers_of_processes_end_in_a_sentence(environment, asked, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find_world(environment, asked)


def test_threads_are_shared_out_on_a_machine():
    assert processor_threads(8, World(local_size=2, size=2), 16, {}) == 4
    assert processor_threads(None, World(), 16, {}) == 16
    assert processor_threads(1, World(local_size=4, size=4), 16, {}) == 1
    assert processor_threads(None, World(own_share=True), 16, {"SLURM_CPUS_PER_TASK": "3"}) == 3


@pytest.mark.parametrize("samples", [0, 1, 2, 5, 32, 33])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("piece", [1, 4])
def test_parts_are_the_whole_batch_in_order_and_cut_between_pieces(samples, size, piece):
    whole = list(range(samples))
    parts = [whole[Group(World(rank, size)).part(samples, piece)] for rank in range(size)]
    assert sum(parts, []) == whole  # noqa: RUF017
    assert all(part[0] % piece == 0 for part in parts if part)
    pieces = [-(-len(part) // piece) for part in parts]
    assert max(pieces) - min(pieces) <= 1


def test_layers_that_depend_on_the_cut_are_refused_and_no_network_has_one():
    config = recipe().training
    for name in GAP_NETWORKS:
        Trainer(build(NETWORK.model_copy(update={"name": name})), config, torch.device("cpu"), Group(World(0, 2)))
    for layer in (torch.nn.BatchNorm3d(1), torch.nn.Dropout(0.5)):
        network = build(NETWORK)
        network.added = layer
        with pytest.raises(ConfigError, match=r"set training\.processes to 1"):
            Trainer(network, config, torch.device("cpu"), Group(World(0, 2)))


def test_gpus_are_one_for_each_process_of_a_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", World()).type == "cpu"
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        choose_device("cuda", World())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cpu", World()).type == "cpu"
    assert choose_device("auto", World(3, 4, 1, 2)) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match="4 training processes share a machine with 2 GPUs"):
        choose_device("auto", World(3, 4, 3, 4))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda", World(3, 4, 3, 4, own_share=True)) == torch.device("cuda", 0)


# --- starting and ending them ---


def test_started_processes_know_their_place_and_the_first_one_speaks(tmp_path, capfd):
    code = "import os, sys, pathlib; r = os.environ['RANK'] + os.environ['WORLD_SIZE'] + os.environ['LOCAL_RANK']\n"
    code += "pathlib.Path(sys.argv[1], r).touch(); print(r); print(r, file=sys.stderr)"
    assert run_processes(python(code, tmp_path), 3) == 0
    assert files_below(tmp_path) == {Path("030"), Path("131"), Path("232")}
    assert capfd.readouterr() == ("030\n", "030\n")


def test_failure_of_one_ends_all_and_is_told(capfd):
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit('my sentence')\ntime.sleep(60)"
    begun = time.monotonic()
    assert run_processes(python(code), 2, grace=0.5) == 1
    assert time.monotonic() - begun < 30
    assert capfd.readouterr().err == "my sentence\n"


def test_process_killed_from_outside_ends_in_a_sentence():
    code = "import os, signal\nif os.environ['RANK'] == '1': os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(UserError, match="Process 1 of 2 was killed by SIGKILL"):
        run_processes(python(code), 2)


@pytest.mark.parametrize("handled", [True, False])
def test_signals_are_passed_on(handled, tmp_path):
    code = "import os, pathlib, signal, sys, time\n"
    code += "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(138))\n" * handled
    code += "pathlib.Path(sys.argv[1], os.environ['RANK']).touch(); time.sleep(60)"
    starter = "import sys; from braggworks.training.processes import run_processes\n"
    starter += "sys.exit(run_processes([sys.executable, '-c', *sys.argv[1:]], 2))"
    process = subprocess.Popen(python(starter, code, tmp_path))
    while len(files_below(tmp_path)) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=50) == 138


# --- training together ---


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_give_the_losses_of_one(tmp_path, manifest, alone, processes):
    command = [*PROGRAM, *arguments(tmp_path, manifest, recipe(**EXACT), f"--processes={processes}", "--device=cpu")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    same_run(tmp_path, alone)
    hardware = read_json(tmp_path / "card.json")["hardware"]
    assert (hardware["processes"], hardware["device"]) == (processes, "cpu")
    assert done.stdout.count("\n") == 2, "one process speaks"


@pytest.mark.slow
def test_losses_differ_by_rounding_alone_without_pieces(tmp_path, manifest):
    one, two = tmp_path / "one", tmp_path / "two"
    values = recipe(batch_size=5, epochs=1)
    assert cli.main(arguments(one, manifest, values)) == 0
    subprocess.run(
        [*PROGRAM, *arguments(two, manifest, values, "--processes=2")], check=True, capture_output=True, timeout=140
    )
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


@pytest.mark.slow
def test_stopped_run_is_continued_by_another_number_of_processes(tmp_path, manifest, alone):
    command = [*PROGRAM, *arguments(tmp_path, manifest, recipe(**EXACT))]
    process = subprocess.Popen([*command, "--processes=2"], stderr=subprocess.PIPE, text=True)
    state = tmp_path / "state" / "state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGUSR1)
    _, said = process.communicate(timeout=140)
    assert process.returncode == 138, said
    assert "braggworks train: stopped after" in said
    stopped = len(losses(tmp_path))
    assert 0 < stopped < len(losses(alone))
    more = ["--processes=3", "--memory-mb=0", "--stop-after-steps=2"]
    subprocess.run([*command, *more], check=True, capture_output=True, timeout=140)
    assert len(losses(tmp_path)) == stopped + 2
    assert cli.main(command[len(PROGRAM) :]) == 0
    same_run(tmp_path, alone)


@pytest.mark.slow
def test_killed_process_ends_the_others_and_the_run_goes_on(tmp_path, manifest, alone):
    command = [*PROGRAM, *arguments(tmp_path, manifest, recipe(**EXACT), "--processes=2")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "state" / "state.safetensors").exists() and process.poll() is None:
        time.sleep(0.001)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    _, said = process.communicate(timeout=140)
    assert process.returncode == 2, said
    assert "was killed by SIGKILL" in said
    assert "Traceback" not in said
    assert cli.main([*command[len(PROGRAM) : -1], "--processes=1"]) == 0
    same_run(tmp_path, alone)


@pytest.mark.slow
def test_torchrun_is_obeyed_and_its_number_is_checked(tmp_path, manifest, alone):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "braggworks"]
    command = arguments(tmp_path, manifest, recipe(**EXACT))
    wrong = subprocess.run([*launcher, *command, "--processes=3"], check=False, capture_output=True, text=True)
    assert wrong.returncode != 0
    assert "torchrun started 2 processes and --processes (training.processes) asks for 3" in wrong.stderr
    assert files_below(tmp_path) == set()
    # Threads are the machine's, and shared.
    done = subprocess.run([*launcher, *command, "--processes=2", "--threads=2"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    same_run(tmp_path, alone)


@pytest.mark.slow
def test_killed_starter_takes_its_processes_along(tmp_path, manifest):
    command = [*PROGRAM, *arguments(tmp_path, manifest, recipe(epochs=100_000), "--processes=2")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "state" / "state.safetensors").exists() and process.poll() is None:
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(children) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.mark.slow
def test_processes_that_see_different_things_end_in_a_sentence(tmp_path, capfd):
    code = "import os, torch; from braggworks.training import exchange, world\n"
    code += "place = world.find_world(os.environ, 2)\n"
    code += "with exchange.joined(place, torch.device('cpu')) as group:\n"
    code += "    group.agree('data', 'same')\n"
    code += "    assert group.sums(1.5, place.rank) == [3.0, 1.0]\n"
    code += "    try: group.agree('weights', str(place.rank))\n"
    code += "    except exchange.UserError as error: print(error)\n"
    assert run_processes(python(code), 2) == 0
    assert "processes do not see the same weights" in capfd.readouterr().out


@pytest.mark.slow
def test_process_that_never_comes_ends_in_a_sentence(tmp_path):
    code = "import torch; from braggworks.training import exchange, world\n"
    code += "place = world.World(0, 2, 0, 2, 'file://' + __import__('sys').argv[1])\n"
    code += "try:\n    with exchange.joined(place, torch.device('cpu'), seconds=1): pass\n"
    code += "except exchange.LostError as error: print(error)\n"
    done = subprocess.run(python(code, tmp_path / "meeting"), capture_output=True, text=True, check=True, timeout=100)
    assert "did not meet the other 1 within 1 s" in done.stdout
    assert done.stdout.count("\n") == 1
