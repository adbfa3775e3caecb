"""Real runs where little is as usual: no home, no network, odd paths, an impatient user."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import quick_steps

from cereflow_bids.bids.status import read_statuses

COMMAND = [
    *(sys.executable, "-c"),
    "import sys; from cereflow_bids.cli.cereflow import main; sys.exit(main())",
]
GUARD = """
import os, socket, sys
allowed, told = ("/dev/", "/proc/self/", *sys.argv.pop(1).split(":")), set()
def watch(event, words):
    if event == "socket.connect" and words[0].family != socket.AF_UNIX:
        told.add(f"connected to {words[1]}")
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        told.add(f"asked for {words[0]}")
    changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    if event == "open" and isinstance(words[2], int) and words[2] & changes:
        path = os.path.realpath(words[0]) if isinstance(words[0], str) else allowed[0]
        if not path.startswith(allowed):
            told.add(f"wrote to {path}")
sys.addaudithook(watch)
from cereflow_bids.cli.cereflow import main
code = main(sys.argv[1:])
print("against the rules:", sorted(told), file=sys.stderr)
sys.exit(code)
"""


def phantom(data_dir: Path, bids: Path, labels: tuple[str, ...] = ("01",)) -> Path:
    source = data_dir / "phantoms" / "varied_single_clean"
    for label in labels:
        perf = bids / f"sub-{label}" / "perf"
        perf.mkdir(parents=True)
        for path in (source / "sub-01" / "perf").iterdir():
            shutil.copyfile(path, perf / path.name.replace("sub-01", f"sub-{label}"))
    shutil.copyfile(source / "dataset_description.json", bids / "dataset_description.json")
    return bids


def test_no_home_no_network_input_read_only_and_chinese_paths(data_dir, tmp_path):
    bids = phantom(data_dir, tmp_path / "原始 数据's" / "bids 集")
    before = {path: path.stat().st_mtime_ns for path in bids.rglob("*")}
    for path in (*bids.rglob("*"), bids):
        path.chmod(0o555 if path.is_dir() else 0o444)
    folders = [tmp_path / name for name in ("结果 out", "工作 work", "临时 tmp")]
    out, work, temporary = folders
    temporary.mkdir()
    # Not even the system's administrator can write there.
    home = {"HOME": "/proc/nobody", "TMPDIR": str(temporary), "NO_ET": "1"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    words = [":".join(map(str, folders)), str(bids), str(out), "participant", "-w", str(work)]
    ended = subprocess.run(
        [sys.executable, "-c", GUARD, *words, "--nprocs", "1"],
        capture_output=True,
        text=True,
        check=False,
        env=kept | home,
    )
    assert ended.returncode == 0, ended.stderr
    assert "against the rules: []" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [status.state for status in read_statuses(out)] == ["done"]
    assert (out / "sub-01.pdf").read_bytes().startswith(b"%PDF")
    assert {path: path.stat().st_mtime_ns for path in bids.rglob("*")} == before


def test_home_need_not_be_known(tmp_path):
    bids = quick_steps.dataset(tmp_path / "bids")
    nobody = {key: value for key, value in os.environ.items() if key not in ("HOME", "USER")}
    words = [str(bids), str(tmp_path / "out"), "participant", "--dry-run"]
    ended = subprocess.run(
        [*COMMAND, *words, "--skip-bids-validation"],
        capture_output=True,
        text=True,
        check=False,
        env=nobody,
    )
    assert (ended.returncode, ended.stdout) == (0, "to do    sub-01\n"), ended.stderr


@pytest.mark.parametrize("given", [None, "/closed"])
@pytest.mark.parametrize("error", [RuntimeError("no home"), PermissionError(13, "no")])
def test_a_user_without_name_or_home_is_served(monkeypatch, given, error):
    def unknown():
        raise error

    from cereflow_bids.processes import NO_HOME, have_a_home

    # First set, then taken away, so that both are undone afterwards.
    monkeypatch.setenv("HOME", given or "")
    if not given:
        monkeypatch.delenv("HOME")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "home", unknown)
        have_a_home()
    # The steps' processes, which import pybids too, get it from here.
    assert os.environ["HOME"] == NO_HOME
    assert not Path(NO_HOME).exists()


@pytest.mark.parametrize("place", ["out", "work"])
def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, place, capsys):
    from cereflow_bids.cli.cereflow import main

    bids = quick_steps.dataset(tmp_path / "bids")
    (tmp_path / "file").write_text("")
    closed = {"out": tmp_path / "out", "work": tmp_path / "work"} | {
        place: tmp_path / "file" / "x"
    }
    words = [str(bids), str(closed["out"]), "participant", "-w", str(closed["work"])]
    assert main([*words, "--skip-bids-validation"]) in (1, 2)
    told = capsys.readouterr().err
    assert str(closed[place]) in told
    assert "To fix:" in told
    assert "Traceback" not in told


# -- workers -------------------------------------------------------------------------------------


def family(leader: int) -> list[int]:
    """Return the processes of a session that still do anything (Linux)."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, *words = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(words[2]) == leader and state not in "ZX":
                found.append(int(folder.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds workers through /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_call(data_dir, tmp_path, number):
    bids = phantom(data_dir, tmp_path / "bids", ("01", "02"))
    out = tmp_path / "out"
    words = [str(bids), str(out), "participant", "-w", str(tmp_path / "work"), "--nprocs", "2"]
    process = subprocess.Popen(
        [*COMMAND, *words, "--skip-bids-validation"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not any(status.state == "running" for status in read_statuses(out)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    assert len(family(process.pid)) > 2
    # A terminal sends Ctrl-C to every process, the others come to the one that was started.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    told = process.communicate(timeout=60)[1]
    while family(process.pid):
        assert time.monotonic() < deadline, "workers are still there"
        time.sleep(0.05)
    if number == signal.SIGKILL:
        assert process.returncode == -number
        return
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert {status.state for status in read_statuses(out)} == {"stopped"}
