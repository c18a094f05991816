import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from train.cli import train
from train.config import PLACES, JobConfig
from train.job_script import job_script

FEATURES = ["--features", "it's.zarr"]
WORDS = [*FEATURES, "--task", "moment_query", "--annotations", "a b"]
FAKE = """\
#!/usr/bin/env python3
import json, os, signal, sys, time
from pathlib import Path
name = Path(sys.argv[0]).name
with open("calls", "a") as file:
    file.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
if name == "scontrol" and sys.argv[1] == "show":
    print("node7\\nnode8")
if name == "srun" and os.environ.get("SLOW"):
    os.kill(os.getppid(), signal.SIGUSR1)
    while not Path("told").exists():
        time.sleep(0.01)
    sys.exit(1)
if name == "scancel":
    Path("told").touch()
"""


@pytest.fixture
def cluster(tmp_path):
    """A folder in which the commands of a cluster only write down how they were called."""
    for name in ("srun", "scontrol", "scancel"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE.replace("/usr/bin/env python3", sys.executable))
        path.chmod(0o755)
    return tmp_path


def run(folder, script, **environment):
    job = {"SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2"}
    code = subprocess.run(
        ["bash"],
        input=script,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **job, **environment},
    ).returncode
    return code, [json.loads(line) for line in (folder / "calls").read_text().splitlines()]


def script_for(cluster, *words, runs=None):
    config = JobConfig(nodes=2, gpus=4, cores=32, directives=("--partition=gpu",))
    folders = {"binaries": cluster / "bin", "folder": cluster, "runs": runs}
    return job_script([*WORDS, *words], config, **folders)


def test_the_script_starts_torchrun_on_every_node_with_the_same_words(cluster):
    code, calls = run(cluster, script_for(cluster))
    assert code == 0
    assert calls[0] == ["scontrol", "show", "hostnames", "node[7-8]"]
    assert calls[1] == [
        *("srun", "--kill-on-bad-exit=1", "--cpus-per-task=32", "torchrun"),
        *("--nnodes=2", "--nproc-per-node=4", "--max-restarts=0", "--rdzv-id=41.0"),
        *("--rdzv-backend=c10d", "--rdzv-endpoint=node7:20041"),
        *("--no-python", "vllm-train", *WORDS, "--resume"),
    ]
    assert len(calls) == 2


def test_each_job_has_a_run_of_its_own_in_all_of_its_turns(cluster):
    script = script_for(cluster, runs=Path("runs/it's"))
    run(cluster, script)
    run(cluster, script, SLURM_RESTART_COUNT="1")
    run(cluster, script, SLURM_JOB_ID="42")
    _, calls = run(cluster, script)
    outs = [call[call.index("--out") + 1] for call in calls if call[0] == "srun"]
    assert outs == [f"runs/it's/job-{job}" for job in (41, 41, 42, 41)]
    assert all("--resume" in call for call in calls if call[0] == "srun")


def test_when_time_is_up_python_gets_sigterm_and_the_job_is_queued_again(cluster):
    code, calls = run(cluster, script_for(cluster), SLOW="yes")
    assert calls[2:] == [["scancel", "--signal=TERM", "41.0"], ["scontrol", "requeue", "41"]]
    assert code == 0


def test_sbatch_is_asked_for_what_the_settings_say(cluster):
    lines = script_for(cluster).splitlines()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert asked == [
        *("--job-name=vllm-train", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=32"),
        *("--gpus-per-node=4", "--time=08:00:00", "--requeue", "--signal=B:USR1@120"),
        *("--open-mode=append", "--partition=gpu"),
    ]
    assert "export OMP_NUM_THREADS=8" in lines
    assert "export PYTHONSAFEPATH=1" in lines


def test_resume_is_not_said_twice(cluster):
    assert script_for(cluster, "--resume").count("    --features") == 1
    assert script_for(cluster, "--resume").count(" --resume") == 2  # one of them in a comment


def test_the_command_prints_the_script_for_its_own_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*WORDS, "--set", "train.job.nodes=3", "--print-job-script"]
    result = CliRunner().invoke(train, words, catch_exceptions=False)
    checked = subprocess.run(["bash", "-n"], input=result.stdout, text=True, timeout=60)
    assert checked.returncode == 0
    assert "#SBATCH --nodes=3\n" in result.stdout
    assert "    --features 'it'\"'\"'s.zarr' --task moment_query" in result.stdout
    assert "--print-job-script" not in result.stdout
    assert f"export PATH={Path(sys.executable).parent}:" in result.stdout
    assert '--resume --out runs/moment_query/job-"$SLURM_JOB_ID" &' in result.stdout


@pytest.mark.parametrize(
    ("device", "directives", "said"),
    [
        ("auto", (), ["--device", "cpu"]),
        ("cuda", (), []),
        ("auto", ("--gres=gpu:4",), []),
    ],
)
def test_without_gpus_the_processes_are_told_to_work_on_the_cpu(cluster, device, directives, said):
    config = JobConfig(gpus=0, directives=directives)
    script = job_script(WORDS, config, binaries=cluster / "bin", folder=cluster, device=device)
    _, calls = run(cluster, script)
    assert calls[1][calls[1].index("vllm-train") + 1 :] == [*said, *WORDS, "--resume"]


@pytest.mark.parametrize("how", [["--out", "mine"], ["--set", "train.out=mine"]])
def test_a_folder_that_is_named_stays(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(train, [*WORDS, *how, "--print-job-script"], catch_exceptions=False)
    assert f"{' '.join(how)} --resume &" in result.stdout
    assert "SLURM_JOB_ID" not in result.stdout.partition("vllm-train \\")[2].partition("&")[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"walltime": "2h"}, r"walltime is '2h', expected \[days-\]hours:minutes:seconds"),
        ({"prologue": ("a\nb",)}, r"has more than one line, give a list of lines"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        JobConfig(**settings)


def test_the_documented_script_is_the_printed_one():
    config = JobConfig(
        nodes=2,
        gpus=4,
        cores=32,
        directives=("--partition=gpu", "--mem=200G"),
        prologue=("module load cuda",),
    )
    words = ["--features", "feats.zarr", "--task", "moment_query", "--annotations", "ego4d"]
    folders = {
        "binaries": Path("/home/me/venv/bin"),
        "folder": Path("/home/me/project"),
        "runs": Path("runs/moment_query"),
    }
    printed = job_script(words, config, **folders).splitlines()
    text = Path(__file__).parents[2].joinpath("docs", "training.md").read_text()
    documented = text.partition("<!-- job script -->\n```bash\n")[2].partition("```")[0]
    commands = [line for line in printed if not line.startswith(("# ", "#!"))]
    assert documented.splitlines() == commands


@pytest.mark.parametrize("name", ["parallel", "logging.wandb_project", "job.nodes"])
def test_how_a_run_is_run_may_change_on_resuming(name):
    assert name in PLACES
