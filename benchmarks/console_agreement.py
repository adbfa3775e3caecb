"""What separates our CBF from the Philips console's own map, one step at a time.

    python benchmarks/console_agreement.py [philips.zip]

Converts and processes the Philips scan of the test data, then prints Pearson r and the ratio of
means inside the brain mask for our map and for variants of the calculation from the raw volumes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
LABELING = ("--post-labeling-delay", "2.0", "--labeling-duration", "1.8")
PLD, TAU, TR, T1_BLOOD, T1_TISSUE = 2.0, 1.8, 4.25, 1.65, 1.3


def main() -> int:
    data = Path(os.environ.get("CEREFLOW_TEST_DATA", PROJECT.parent / "shared" / "data"))
    archive = sys.argv[1] if len(sys.argv) > 1 else data / "zips/philips_pcasl3d_1delay_t1.zip"
    with tempfile.TemporaryDirectory() as name:
        folder, program = Path(name), Path(sys.executable).parent
        bids, out = folder / "bids", folder / "out"
        convert = [program / "cereflow-convert", archive, bids, *LABELING, "--quiet"]
        process = [program / "cereflow", bids, out, "participant", "-w", folder / "work"]
        for words in (convert, process):
            subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)
        _compare(bids, out)
    return 0


def _compare(bids: Path, out: Path) -> None:
    console = _load(next(bids.glob("derivatives/console/sub-01/perf/*_cbf.nii.gz")))
    ours = _load(out / "sub-01/perf/sub-01_cbf.nii.gz")
    mask = _load(out / "sub-01/perf/sub-01_desc-brain_mask.nii.gz") > 0
    volumes = _load(bids / "sub-01/perf/sub-01_asl.nii.gz")
    # M0 pair, then control and label twice.
    deltam = (volumes[..., 2] - volumes[..., 3] + volumes[..., 4] - volumes[..., 5]) / 2
    m0 = volumes[..., :2].mean(axis=-1)
    inflow = 2 * 0.85 * T1_BLOOD * (1 - np.exp(-TAU / T1_BLOOD))
    scale = 6000 * 0.9 * np.exp(PLD / T1_BLOOD) / inflow
    plain = scale * np.divide(deltam, m0, out=np.zeros_like(m0), where=m0 > 0)
    recovered = plain * (1 - np.exp(-TR / T1_TISSUE))
    rows = {
        "our map": ours,
        "no motion correction, M0 not smoothed": recovered,
        "the same without the TR correction of M0": plain,
        "the same with negative values set to 0, as the console does": np.maximum(plain, 0),
        "the same with an efficiency of 0.85 x 0.9": np.maximum(plain, 0) / 0.9,
    }
    print(f"console: {(console[mask] == 0).mean():.1%} of the brain is 0, none is negative")
    print(f"{'':<62}{'r':>7}{'ratio of means':>16}")
    for name, values in rows.items():
        r = np.corrcoef(values[mask], console[mask])[0, 1]
        print(f"{name:<62}{r:>7.3f}{values[mask].mean() / console[mask].mean():>16.3f}")


def _load(path: Path) -> np.ndarray:
    return nib.load(path).get_fdata()


if __name__ == "__main__":
    raise SystemExit(main())
