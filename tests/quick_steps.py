"""The participant level without its arithmetic: each step copies what it is given, and is counted.

Graph, nodes, records, locks, work and output folder are the real ones. What is between them is not
what the tests of faults are about, and takes a minute. Served by a process that has loaded all
libraries already: each call runs in a fork of it, to which any harm may be done.
"""

import contextlib
import gzip
import hashlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
TORN_BYTES = 30
JOURNAL = "journal.txt"


def dataset(folder: Path, labels: tuple[str, ...] = ("01",)) -> Path:
    """Write a dataset of the smallest images."""
    import nibabel as nib
    import numpy as np

    folder.mkdir(parents=True)
    described = {"Name": "tiny", "BIDSVersion": "1.10.0"}
    (folder / "dataset_description.json").write_text(json.dumps(described))
    sidecar = {
        "ArterialSpinLabelingType": "PCASL",
        "MRAcquisitionType": "3D",
        "MagneticFieldStrength": 3,
        "PostLabelingDelay": 1.8,
        "LabelingDuration": 1.8,
        "BackgroundSuppression": False,
        "M0Type": "Included",
        "RepetitionTimePreparation": 6.0,
        "EchoTime": 0.01,
    }
    volumes = np.random.default_rng(1).uniform(50, 100, (6, 6, 4, 3)).astype(np.float32)
    for label in labels:
        anat = folder / f"sub-{label}" / "anat"
        anat.mkdir(parents=True)
        nib.save(nib.Nifti1Image(volumes[..., 0], np.eye(4)), anat / f"sub-{label}_T1w.nii.gz")
        perf = folder / f"sub-{label}" / "perf"
        perf.mkdir()
        nib.save(nib.Nifti1Image(volumes, np.eye(4) * 3), perf / f"sub-{label}_asl.nii.gz")
        (perf / f"sub-{label}_asl.json").write_text(json.dumps(sidecar))
        table = "volume_type\nm0scan\ncontrol\nlabel\n"
        (perf / f"sub-{label}_aslcontext.tsv").write_text(table)
    return folder


def quicken(journal: Path) -> None:
    """Replace what steps and report compute; `journal` gets a line for each that is done."""
    from cereflow_bids.report import participant
    from cereflow_bids.workflow import anatomy, interfaces, outcome

    def note(*words: str) -> None:
        with journal.open("a") as lines:
            lines.write(" ".join(words) + "\n")

    def work(step: Any, folder: Path) -> dict[str, Any]:
        name = type(step).__name__
        note("begin", step.inputs.run.stem, name)
        made = _made(step, folder)
        note("end", step.inputs.run.stem, name)
        return made

    def deposit(step: Any, folder: Path) -> dict[str, Any]:
        run, out_dir = step.inputs.run, Path(step.inputs.out_dir)
        note("begin", run.stem, "Deposit")
        written = _deposited(run, out_dir, _digest(step))
        step._tell("done", step="Deposit", fingerprint=step.inputs.fingerprint, outputs=written)
        note("end", run.stem, "Deposit")
        return {"outputs": list(written)}

    def report(out_dir: Path, label: str, runs: list[str]) -> tuple[Path, Path]:
        from cereflow_bids.bids.derivatives import DerivativeWriter
        from cereflow_bids.bids.status import read_status

        note("begin", f"sub-{label}", "Report")
        writer, states = (
            DerivativeWriter(out_dir),
            [read_status(out_dir, run).state for run in runs],
        )
        text = f"{runs} {states}\n" * 20
        paths = [
            writer.write_text(key, text, participant=label)
            for key in ("report_html", "report_pdf")
        ]
        return paths[0], paths[1]

    def head(run: str, images: list[Path], folder: Path) -> dict[str, str]:
        note("begin", run, "Anatomy")
        made = {name: folder / f"{name}.txt" for name in anatomy.NO_ANATOMY}
        content = b"".join(image.read_bytes() for image in images)
        for name, path in made.items():
            path.write_text(f"{name} of {hashlib.sha256(content).hexdigest()}\n" * 50)
        note("end", run, "Anatomy")
        return {name: str(path) for name, path in made.items()}

    def of_t1w(t1w: Path, folder: Path, **_choices: int) -> dict[str, str]:
        return head(t1w.name.partition("_")[0], [t1w], folder)

    def of_precomputed(given: Any, folder: Path, **_choices: int) -> dict[str, str]:
        return head(given.stem, list(given.files.values()), folder)

    anatomy.prepare, anatomy.prepare_precomputed = of_t1w, of_precomputed
    for step in interfaces.Step.__subclasses__():
        step._work = deposit if step is outcome.Deposit else work
    participant.build_participant_report = report


def _made(step: Any, folder: Path) -> dict[str, Any]:
    """Return one file for each output that a step promises, made from all its inputs."""
    digest, made = _digest(step), {}
    for name, trait in step.output_spec().traits(transient=None).items():
        if not name.startswith("trait_"):
            path = folder / f"{name}.txt"
            path.write_text(f"{name} of {digest}\n" * 50)
            is_dict = type(trait.trait_type).__name__ == "Dict"
            made[name] = {"one": str(path)} if is_dict else str(path)
    return made


def _digest(step: Any) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(step.inputs.get().items()):
        files = value.values() if isinstance(value, dict) else [value]
        for one in files:
            if isinstance(one, str) and one.startswith("/") and Path(one).is_file():
                digest.update(name.encode() + Path(one).read_bytes())
    digest.update(gzip.decompress(step.inputs.run.asl.read_bytes()))
    return digest.hexdigest()


def _deposited(run: Any, out_dir: Path, digest: str) -> tuple[str, ...]:
    import numpy as np

    from cereflow_bids.bids.derivatives import DerivativeWriter

    writer = DerivativeWriter(out_dir)
    values = np.frombuffer(bytes.fromhex(digest), np.uint8).astype(np.float32).reshape(4, 4, 2)
    keys = ("cbf", "m0", "aslref", "deltam")
    paths = [writer.write_image(key, run.stem, values, np.eye(4), {"A": digest}) for key in keys]
    return tuple(str(path.relative_to(out_dir)) for path in paths)


# -- the process that serves ---------------------------------------------------------------------


class Harm:
    """What is done to a call at its n-th change of a file below a folder.

    kill: it is killed. torn: it is killed in the midst of the next write. full: nothing can be
    written any more. int, term: it is asked to stop. pause: it waits for a sign to go on.
    """

    def __init__(self, task: dict[str, Any]) -> None:
        self.below, self.kind, self.at, self.seen = task["below"], task["kind"], task["at"], 0
        self.paused, self.go = Path(task["paused"]), Path(task["go"])

    def __call__(self, event: str, words: tuple[Any, ...]) -> None:
        if event == "open":
            changes = isinstance(words[2], int) and words[2] & WRITING
        else:
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.rmdir")
        if changes and str(words[0]).startswith(self.below) and JOURNAL not in str(words[0]):
            self.seen += 1
            if self.seen == self.at:
                self._strike()

    def _strike(self) -> None:
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind in ("int", "term"):
            os.kill(os.getpid(), signal.SIGINT if self.kind == "int" else signal.SIGTERM)
        elif self.kind == "pause":
            self.paused.touch()
            while not self.go.exists():
                time.sleep(0.01)
        elif self.kind in ("torn", "full"):
            if self.kind == "torn":
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            limit = TORN_BYTES if self.kind == "torn" else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def child(task: dict[str, Any], output: int) -> None:
    """Run one call and end, with its exit code; the number of changes goes into a file."""
    os.setsid()
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    quicken(Path(task["journal"]))
    harm = Harm(task)
    sys.addaudithook(harm)
    from cereflow_bids.cli.cereflow import main

    code: Any = 99
    with contextlib.suppress(SystemExit):
        code = main(task["argv"])
    if task["kind"] == "none":
        Path(task["count"]).write_text(str(harm.seen))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Take tasks, a line of JSON each; answer with the exit code and what was said."""
    import cereflow_bids.cli.participant
    import cereflow_bids.report.participant  # noqa: F401

    for line in sys.stdin:
        # A pipe, not a file: the limit on the size of files is not for what is said.
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # What escapes is printed, and must not go on serving here.
            try:
                os.close(reader)
                child(json.loads(line), writer)
            finally:
                sys.excepthook(*sys.exc_info())
                os._exit(98)
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as said:
            text = said.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"code": code, "said": text}), flush=True)


if __name__ == "__main__":
    serve()
