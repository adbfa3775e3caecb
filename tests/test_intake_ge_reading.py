"""How GE series are recognised and read when names, types and tags are not the product's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from written_dicom import OBLIQUE, STUDY, asymmetric

from cereflow_bids.demo.writers import ge as writer
from cereflow_bids.demo.writers import ge_easl
from cereflow_bids.errors import InputError
from cereflow_bids.intake import heuristic
from cereflow_bids.intake.headers.series import Series, index
from cereflow_bids.intake.parameters.labeling import Labeling
from cereflow_bids.intake.vendors import ge

PW, MAP, OTHER = "DERIVED PRIMARY ASL PERFUSION_ASL", "DERIVED PRIMARY", "ORIGINAL PRIMARY OTHER"
ROLES = [
    ("3D ASL (non-contrast)", PW, "3dasl 3dasl", "ge-pcasl-3d"),
    ("Ax 3D PCASL", "ORIGINAL PRIMARY OTHER REAL", "3DASL", "ge-pcasl-3d"),
    ("Ax 3D PCASL", PW, "", "ge-pcasl-3d"),
    ("eASL: Raw", PW, "easl", "ge-easl-raw"),
    ("eASL: Raw", PW, "", "ge-easl-raw"),
    ("(per del, mean PW, REF) multi-Delay ASL SEQ", OTHER, "easl", "ge-easl-raw"),
    ("eASL: Raw", OTHER, "", "ge-easl-raw"),
    ("eASL: Transit corrected Flow", MAP, "easl", "ge-console-cbf"),
    ("eASL: Transit corrected Flow", MAP, "", "ge-console-cbf"),
    ("eASL: Transit-corrected CBF", MAP, "easl", "ge-console-cbf"),
    ("NOT DIAGNOSTIC: (Transit corrected CBF) eASL", MAP, "easl", "ge-console-cbf"),
    ("Cerebral Blood Flow", MAP, "3dasl", "ge-console-cbf"),
    ("3D ASL", "DERIVED PRIMARY CBF CBF", "", "ge-console-cbf"),
    ("eASL: Transit delay", MAP, "easl", "ge-easl-transit-delay"),
    ("(Transit delay) multi-Delay ASL SEQ", OTHER, "easl", "ge-easl-transit-delay"),
    ("(Color Transit delay) multi-Delay ASL SEQ", MAP, "easl", "ge-picture"),
    ("3D ASL", "DERIVED SECONDARY REFORMATTED AVERAGE", "3dasl", "ge-picture"),
    ("eASL: Transit delay", MAP, "", "ge-easl-transit-delay"),
    ("3D ASL (non-contrast)", OTHER, "", "ge-pcasl-3d"),
    ("Basic localizer", OTHER, "", ""),
    ("3D T1 BRAVO for ASL", OTHER, "bravo efgre3d", "t1w-3d"),
    ("3D T1 BRAVO for ASL", OTHER, "", "t1w-3d"),
    ("BrainStat CBF", "DERIVED PRIMARY CBF CBF", "epi", ""),
    ("DWI", OTHER, "epi2", ""),
    ("Sag FSPGR BRAVO", OTHER, "bravo efgre3d", "t1w-3d"),
]


@pytest.mark.parametrize(("description", "image_type", "sequence", "rule"), ROLES)
def test_rule_for_a_series(description, image_type, sequence, rule):
    rules = heuristic.rules()
    kinds = tuple(image_type.split())
    traits = rules.Traits("GE MEDICAL SYSTEMS", description, "Brain", kinds, "3D", sequence)
    assert rules.role(traits).rule == rule


def test_colour_is_a_picture_whatever_its_name():
    rules = heuristic.rules()
    traits = rules.Traits("GE", "3D ASL", "", tuple(PW.split()), "3D", "3dasl", True)
    assert rules.role(traits).rule == "ge-picture"


# -- reading -------------------------------------------------------------------------------------


def changed(paths: list[Path], change: Callable[[Any], None]) -> Series:
    """Change the headers of written files, and index them again."""
    for path in paths:
        image = pydicom.dcmread(path)
        change(image)
        image.save_as(path)
    (series,) = index(paths)
    return series


def product(folder: Path, change: Callable[[Any], None] = lambda _: None, **what: Any) -> Series:
    """Return a series of the product with `change` made to each of its headers."""
    volume = asymmetric(1, high=90)
    protocol = writer.GeProtocol(**what)
    return changed(writer.write(folder, STUDY, volume, volume, OBLIQUE, protocol=protocol), change)


def easl(
    folder: Path, images: int, change: Callable[[Any], None] = lambda _: None, **what: Any
) -> Series:
    """Return a raw series of eASL of three delays that holds so many decoded images."""
    decoded = np.stack([asymmetric(1, high=90)] * images, axis=-1)
    protocol = ge_easl.EaslProtocol(delays=images, **{"excitations": 4, **what})
    paths = ge_easl.write_raw(folder, STUDY, decoded, decoded[..., 0], OBLIQUE, protocol=protocol)

    def three(image: Any) -> None:
        if (0x0019, 0x10AD) in image:
            image[0x0019, 0x10AD].value = "3"
        change(image)

    return changed(paths, three)


def values(labeling: Labeling) -> dict[str, Any]:
    """Return the parameters without their origins."""
    return {key: parameter.value for key, parameter in labeling.parameters.items()}


def test_image_types_tell_the_passes_in_either_order(tmp_path):
    assert ge.read(product(tmp_path / "a")).volume_types == ("deltam", "m0scan")

    def backwards(image: Any) -> None:
        image.InstanceNumber = 21 - image.InstanceNumber

    assert ge.read(product(tmp_path / "b", backwards)).volume_types == ("m0scan", "deltam")


def test_without_image_types_density_comes_last_and_that_is_told(tmp_path):
    def anonymous(image: Any) -> None:
        image.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "REAL"]

    found = ge.read(product(tmp_path, anonymous))
    assert found.volume_types == ("deltam", "m0scan")
    assert any("which of 2 volumes" in note for note in found.notes)


def test_a_lost_density_image_is_told(tmp_path):
    volume = asymmetric(1, high=90)
    paths = writer.write(tmp_path, STUDY, volume, volume, OBLIQUE)
    (series,) = index(paths[: len(paths) // 2])
    found = ge.read(series)
    assert found.volume_types == ("deltam",)
    assert any("no proton-density image" in note for note in found.notes)


def test_an_unknown_software_is_told_for_its_scale(tmp_path):
    def without_software(image: Any) -> None:
        del image.SoftwareVersions

    found = ge.read(product(tmp_path / "a", without_software))
    assert found.divisor == 32
    assert any("software" in note and "45.24" in note for note in found.notes)
    assert not any("software" in note for note in ge.read(product(tmp_path / "b")).notes)


def test_without_private_elements_delay_and_averages_are_left(tmp_path):
    found = ge.read(product(tmp_path, lambda image: image.remove_private_tags(), excitations=5))
    told = values(found)
    assert (told["PostLabelingDelay"], told["NumberOfExcitations"]) == (2.025, 5)
    assert "LabelingDuration" not in told
    assert found.parameters["NumberOfExcitations"].origin.startswith("header (0018,0083)")


def test_series_group_by_protocol_and_place_but_not_by_delay(tmp_path):
    def moved(image: Any) -> None:
        image.ImagePositionPatient = [0, 0, image.ImagePositionPatient[2]]

    parts = {
        name: ge.read(product(tmp_path / name, **what)).part
        for name, what in {
            "one": {},
            "delay": {"post_labeling_delay": 1.025, "series_number": 8, "excitations": 2},
            "duration": {"labeling_duration": 1.8},
            "software": {"software": writer.OLD_SOFTWARE},
            "place": {"change": moved},
        }.items()
    }
    assert parts["one"] == parts["delay"]
    assert parts["one"].by == "delay"
    assert len(set(parts.values())) == 4


@pytest.mark.parametrize(("stated", "expected"), [(4, 1), (8, 2), (3, 3), (1, 1)])
def test_excitations_of_easl_count_the_encodings(tmp_path, stated, expected):
    found = ge.read(easl(tmp_path, 3, excitations=stated))
    assert values(found)["NumberOfExcitations"] == expected
    assert any("disputed" in note for note in found.notes)


def test_the_mean_behind_the_decoded_images_is_not_used(tmp_path):
    found = ge.read(easl(tmp_path, 4))
    assert found.volume_types == ("deltam", "deltam", "deltam", "n/a", "m0scan")
    assert found.volume_delays == (1.0, 1.573, 2.458, 0.0, 0.0)
    assert values(found)["LabelingDuration"] == (0.573, 0.885, 2.042)
    assert any("mean" in note for note in found.notes)


def test_timing_that_does_not_fit_the_images_is_not_used(tmp_path):
    found = ge.read(easl(tmp_path, 6))
    assert "PostLabelingDelay" not in values(found)
    assert "LabelingDuration" not in values(found)
    assert found.volume_delays is None
    assert any("3 delays" in note and "6 perfusion" in note for note in found.notes)


def test_easl_is_known_by_its_name_when_private_elements_are_gone(tmp_path):
    found = ge.read(easl(tmp_path, 3, lambda image: image.remove_private_tags()))
    assert found.part is None
    assert "PostLabelingDelay" not in values(found)
    assert values(found)["RepeatsPerDelay"] == (1, 1, 1)


# -- arranging -----------------------------------------------------------------------------------


def test_volumes_are_found_in_dcm2niix_images_in_any_order():
    labeling = Labeling({}, volume_types=("deltam",) * 3 + ("m0scan",))
    perfusion, density = {"ImageType": PW.split()}, {"ImageType": ["ORIGINAL", "PRIMARY", "ASL"]}
    expected = [(1, 0), (1, 1), (1, 2), (0, 0)]
    assert ge.arrange(labeling, [density, perfusion], [1, 3]) == expected
    assert ge.arrange(labeling, [perfusion, density], [3, 1])[-1] == (1, 0)
    first = Labeling({}, volume_types=("m0scan", "deltam"))
    assert ge.arrange(first, [perfusion, density], [1, 1]) == [(1, 0), (0, 0)]
    assert ge.arrange(labeling, [perfusion], [4]) == [(0, 0), (0, 1), (0, 2), (0, 3)]


def test_labelling_types_tell_images_apart_where_image_types_do_not():
    labeling = Labeling({}, volume_types=("deltam", "m0scan"))
    same = {"ImageType": OTHER.split()}
    files = [
        {**same, "ArterialSpinLabelingType": "CASL"},
        {**same, "ArterialSpinLabelingType": "PCASL"},
    ]
    assert ge.arrange(labeling, files, [1, 1]) == [(1, 0), (0, 0)]


def test_images_that_do_not_fit_the_headers_are_refused():
    labeling = Labeling({}, volume_types=("deltam", "m0scan"))
    with pytest.raises(InputError, match="both of its passes"):
        ge.arrange(labeling, [{"ImageType": PW.split()}] * 2, [1, 1])
