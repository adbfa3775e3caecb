"""Build the atlases that are derived from the packaged gyral one, and their tables.

    python scripts/build_atlases.py [FOLDER]

Needs nothing but the package itself and gives the same images bit for bit; without FOLDER the
packaged ones are written anew. A test compares.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from cereflow_bids.atomic import write_atomically
from cereflow_bids.regions.atlas import packaged_atlas
from cereflow_bids.regions.derived import Derived, arterial_atlases, deep_structures, lobes
from cereflow_bids.resources import RESOURCES, TEMPLATE_SPACE, template

VERSION = "1.0"
GYRAL = "DesikanKilliany"
TISSUE = 128  # grey plus white matter, of 255

DESIKAN = "Desikan RS et al. NeuroImage 2006;31:968-980. doi:10.1016/j.neuroimage.2006.01.021"
FISCHL = "Fischl B et al. Neuron 2002;33:341-355. doi:10.1016/s0896-6273(02)00569-x"
VESSELS = [
    "Tatu L et al. Neurology 1998;50:1699-1708. doi:10.1212/wnl.50.6.1699",
    "Tatu L et al. Front Neurol Neurosci 2012;30:99-110. doi:10.1159/000333602",
    "van der Zwan A et al. Stroke 1993;24:1951-1959. doi:10.1161/01.str.24.12.1951",
    "Mangla R et al. RadioGraphics 2011;31:1201-1214. doi:10.1148/rg.315105014",
]
BY_RULE = (
    "Built by rule from published descriptions, not a segmentation of angiograms, of perfusion "
    "or of lesions. Where boundaries lie in one person can differ by centimetres."
)
ABOUT = {
    "Lobes": (
        "Cortical grey matter of each lobe; the cingulate gyrus and the insula count as lobes. "
        "Gyral labels joined, nothing redrawn.",
        [DESIKAN],
    ),
    "Subcortical": (
        "Nuclei, hippocampus, amygdala, cerebellar cortex and brainstem: the labels of the gyral "
        "atlas that are not cerebral cortex, renumbered.",
        [FISCHL],
    ),
    "ArterialTerritories": (
        f"Territories of the cerebral arteries, grey and white matter, and the posterior fossa. "
        f"{BY_RULE}",
        [DESIKAN, *VESSELS],
    ),
    "ArterialTerritoriesProximalDistal": (
        "The half of each cerebral artery's territory that is nearer to where its trunk enters, "
        f"with all that perforators feed, and the half that is farther away. {BY_RULE}",
        [DESIKAN, *VESSELS],
    ),
    "ArterialBorderZones": (
        "Bands along the seams of the territories: 6 mm to either side between cortical branches, "
        f"4 mm between perforators and branches of the middle cerebral artery. {BY_RULE}",
        [DESIKAN, *VESSELS],
    ),
}


def build() -> dict[str, Derived]:
    """Return every derived atlas by its name, from packaged data only."""
    gyral = packaged_atlas(GYRAL)
    image = nib.load(gyral.labels)
    labels, regions = np.asarray(image.dataobj), gyral.regions()
    maps = [np.asarray(nib.load(template(kind)).dataobj, dtype=int) for kind in ("GM", "WM")]
    return {
        "Lobes": lobes(labels, regions),
        "Subcortical": deep_structures(labels, regions),
    } | arterial_atlases(labels, regions, sum(maps) >= TISSUE, image.affine[:3, 3])


def image_bytes(atlas: Derived) -> bytes:
    """Return the NIfTI of an atlas, uncompressed."""
    affine = nib.load(packaged_atlas(GYRAL).labels).affine
    image = nib.Nifti1Image(atlas.labels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="mni")
    content: bytes = image.to_bytes()
    return content


def sidecar(name: str) -> dict[str, object]:
    """Return what is to be known of an atlas."""
    description, references = ABOUT[name]
    return {
        "Name": name,
        "Version": VERSION,
        "Description": description,
        "DerivedFrom": f"{GYRAL} as packaged, by scripts/build_atlases.py",
        "SpatialReference": f"{TEMPLATE_SPACE}, 1 mm",
        "License": "FreeSurfer Software License Agreement 1.0; see LICENSE beside this file",
        "ReferencesAndLinks": references,
    }


def main() -> None:
    """Write the derived atlases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=RESOURCES / "atlases" / "Derived")
    folder: Path = parser.parse_args().folder
    for name, atlas in build().items():
        stem = f"atlas-{name}_dseg"
        about = json.dumps(sidecar(name), indent=2, ensure_ascii=False) + "\n"
        files = {
            f"tpl-{TEMPLATE_SPACE}_res-01_{stem}.nii.gz": gzip.compress(
                image_bytes(atlas), 9, mtime=0
            ),
            f"{stem}.tsv": atlas.table.to_csv(sep="\t", index=False).encode(),
            f"{stem}.json": about.encode(),
        }
        for file, content in files.items():
            path = folder / file
            write_atomically(path, lambda temporary, text=content: temporary.write_bytes(text))
            print(f"{len(content):9d} {path}")


if __name__ == "__main__":
    main()
