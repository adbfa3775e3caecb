"""The packaged atlases: what they are made of, and that they are what their names say."""

import gzip
import importlib.util
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cereflow_bids.imaging.label_volumes import volume_preserving_labels
from cereflow_bids.regions.atlas import GYRAL, PACKAGED, packaged_atlas

SCRIPT = Path(__file__).parent.parent / "scripts" / "build_atlases.py"


def labels_of(name):
    """Return labels, voxel coordinates of x = y = z = 0, and the table."""
    atlas = packaged_atlas(name)
    image = nib.load(atlas.labels)
    return np.asarray(image.dataobj), np.round(-image.affine[:3, 3]).astype(int), atlas.regions()


@pytest.fixture(scope="module")
def territories():
    """Return the label at a place, mm, as name and side."""
    labels, origin, regions = labels_of("ArterialTerritories")
    names = regions.set_index("index")

    def at(*place):
        label = labels[tuple(origin + place)]
        return tuple(names.loc[label, ["name", "hemisphere"]]) if label else None

    return at


def test_derived_atlases_are_rebuilt_bit_by_bit():
    spec = importlib.util.spec_from_file_location("build_atlases", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    built = script.build()
    assert {GYRAL, *built} == set(PACKAGED)
    for name, derived in built.items():
        atlas = packaged_atlas(name)
        assert gzip.decompress(atlas.labels.read_bytes()) == script.image_bytes(derived), name
        assert atlas.table.read_text() == derived.table.to_csv(sep="\t", index=False), name


@pytest.mark.parametrize("name", PACKAGED)
def test_every_atlas_has_names_licence_origin_and_version(name):
    labels, origin, regions = labels_of(name)
    atlas = packaged_atlas(name)
    assert set(np.unique(labels)) == {0, *regions["index"]}
    assert {"Version", "DerivedFrom", "License", "ReferencesAndLinks"} <= set(atlas.about)
    assert (atlas.table.parent / "LICENSE").is_file()
    assert atlas.labels.stat().st_size < 1e6
    for side, sign in (("L", -1), ("R", 1)):
        index = regions.loc[regions["hemisphere"] == side, "index"]
        x = np.argwhere(np.isin(labels, index))[:, 0] - origin[0]
        assert (sign * x > -3).mean() > 0.99


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ((5, 50, 20), "anterior cerebral artery"),  # medial frontal
        ((6, -30, 60), "anterior cerebral artery"),  # paracentral lobule
        ((14, 20, 58), "anterior cerebral artery"),  # superior frontal gyrus
        ((9, 12, -7), "anterior cerebral artery"),  # accumbens: Heubner's artery
        ((40, 30, 25), "middle cerebral artery"),
        ((50, -15, 40), "middle cerebral artery"),  # hand and face, convexity
        ((38, 5, 0), "middle cerebral artery"),  # insula
        ((26, 2, 0), "middle cerebral artery"),  # putamen: lenticulostriate
        ((24, -12, 22), "middle cerebral artery"),  # corona radiata
        ((55, -25, 0), "middle cerebral artery"),  # superior temporal
        ((10, -80, 5), "posterior cerebral artery"),  # calcarine
        ((30, -45, -16), "posterior cerebral artery"),  # fusiform
        ((12, -20, 8), "posterior cerebral artery"),  # thalamus
        ((25, -25, -13), "posterior cerebral artery"),  # hippocampus
        ((25, -65, -40), "cerebellum"),
    ],
)
def test_arteries_feed_what_they_are_known_to_feed(territories, place, name):
    x, y, z = place
    assert territories(x, y, z) == (name, "R")
    assert territories(-x, y, z) == (name, "L")


def test_territories_cover_the_brain_and_mirror_each_other():
    from cereflow_bids.resources import template

    labels, origin, _ = labels_of("ArterialTerritories")
    tissue = sum(np.asarray(nib.load(template(k)).dataobj, int) for k in ("GM", "WM")) > 128
    tissue[origin[0]] = False
    assert (labels[tissue] > 0).all()
    swapped = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 9])
    assert (swapped[labels[::-1]] == labels).all()


def test_border_zones_lie_at_the_seams():
    whole, _, _ = labels_of("ArterialTerritories")
    zones, _, _ = labels_of("ArterialBorderZones")
    for zone, sides in ((2, (2, 4)), (4, (4, 6))):
        inside = zones == zone
        share = np.bincount(whole[inside], minlength=10) / inside.sum()
        assert share[list(sides)].min() > 0.4
        assert share[list(sides)].sum() == pytest.approx(1)


def test_regions_keep_their_volume_on_a_thick_grid():
    edges = np.array([3.5, 3.5, 5])
    affine = np.diag([*edges, 1])
    affine[:3, 3] = (-98, -134, -72)
    turned = np.eye(4)
    turned[1:3, 1:3] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    turned[:3, 3] = (1.3, -2, 3)
    sources = [labels_of(name)[0] for name in PACKAGED]
    grid = nib.load(packaged_atlas().labels).affine
    for source, thick in zip(
        sources,
        volume_preserving_labels(sources, grid, (57, 67, 38), affine, world=turned),
        strict=True,
    ):
        index = np.unique(source)[1:]
        volume = np.bincount(source.ravel())[index] / edges.prod()
        found = np.bincount(thick.ravel(), minlength=index.max() + 1)[index]
        assert (np.abs(found - volume) <= np.maximum(2, 0.1 * volume)).all()


def test_a_sheet_thinner_than_the_voxels_keeps_its_volume_and_place():
    fine = np.zeros((24, 24, 24), np.int32)
    fine[:, :, 9:11] = 7  # 2 of 6 voxels: it fills the most of none
    fine[:, :, 18:] = 5
    coarse = np.diag([6.0, 6, 6, 1])
    coarse[:3, 3] = 2.5
    (thick,) = volume_preserving_labels([fine], np.eye(4), (4, 4, 4), coarse)
    assert (thick == 7).sum() == pytest.approx(16 / 3, abs=1)
    assert set(np.argwhere(thick == 7)[:, 2]) == {1}
    assert (thick[:, :, 3] == 5).all()
    assert (thick == 5).sum() == 16
