"""Export the brain-extraction networks of deepbet to ONNX.

    pip download --no-deps deepbet==1.0.2
    python scripts/export_deepbet.py deepbet-1.0.2-py3-none-any.whl FOLDER

Needs torch and onnx (2.13.0 and 1.23.2 were used), which the project does not have; therefore no
automatic check runs this script. The wheel's networks are taken as they are, without training
or pruning. After the export both forms are given the same noise, and the script fails if they
differ; that needs onnxruntime, which the project has.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import torch

WHEEL_SHA256 = "1999e2ea00ec48f6233b95b96f3901a962d3f70431c63aeb985e8a49a198473c"
NETWORKS = {"bbox": "data/models/bbox_model.pt", "model": "data/models/model.pt"}
OPSET = 17
EDGE = 64  # of the example that is traced; the axes stay free
TOLERANCE = 5e-3  # of a probability on noise; both add float32 in their own order


def main() -> int:
    """Export both networks of the wheel and compare them with the originals."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="deepbet 1.0.2 as downloaded")
    parser.add_argument("folder", type=Path, help="where the .onnx files go")
    arguments = parser.parse_args()
    found = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        print(f"{arguments.wheel} is not deepbet 1.0.2: SHA-256 {found}", file=sys.stderr)
        return 1
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(arguments.wheel) as wheel:
        for name, member in NETWORKS.items():
            network = torch.jit.load(io.BytesIO(wheel.read(member)), map_location="cpu").eval()
            path = arguments.folder / f"deepbet_{name}.onnx"
            export(network, path)
            worst = difference(network, path)
            print(f"{path}: differs from the original by {worst:.1e} at most")
            if worst > TOLERANCE:
                return 1
    return 0


def export(network: torch.nn.Module, path: Path) -> None:
    """Write a network as ONNX with free spatial axes, by the TorchScript exporter."""
    axes = {2: "a", 3: "b", 4: "c"}
    torch.onnx.export(
        network,
        (torch.zeros(1, 1, EDGE, EDGE, EDGE),),
        str(path),
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": axes, "y": axes},
        opset_version=OPSET,
        dynamo=False,
    )


def difference(network: torch.nn.Module, path: Path) -> float:
    """Return the largest difference of both forms on noise, on a grid that was not traced."""
    noise = np.random.default_rng(0).normal(0.449, 0.226, (1, 1, 96, 64, 128)).astype(np.float32)
    with torch.no_grad():
        original = network(torch.from_numpy(noise)).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (exported,) = session.run(None, {"x": noise})
    return float(np.abs(original - exported).max())


if __name__ == "__main__":
    sys.exit(main())
