"""The intake's decisions one by one: series, volumes, parameters, labels, sessions."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.intake import heuristic, privacy
from cereflow_bids.intake.headers.series import Patient
from cereflow_bids.intake.layout import sessions
from cereflow_bids.intake.layout.study import Place
from cereflow_bids.intake.nifti import volumes
from cereflow_bids.intake.nifti.sidecars import allowed, kept
from cereflow_bids.intake.parameters.answers import COMMAND_LINE, Answer, Given
from cereflow_bids.intake.parameters.labeling import Parameter
from cereflow_bids.intake.parameters.protocol import complete
from cereflow_bids.intake.privacy import KeyFile, age_in_years, published_age, without_identifiers
from cereflow_bids.intake.survey import Examination
from cereflow_bids.intake.vendors import ge, siemens

ROLES = [
    ("GE MEDICAL SYSTEMS", "3D ASL (non-contrast)", "DERIVED PRIMARY ASL PERFUSION_ASL", "asl"),
    ("GE MEDICAL SYSTEMS", "3D ASL", "ORIGINAL PRIMARY ASL", "asl"),
    ("GE MEDICAL SYSTEMS", "CBF: 3D ASL", "DERIVED PRIMARY CBF CBF", "cbf"),
    ("GE MEDICAL SYSTEMS", "eASL: Raw", "DERIVED PRIMARY ASL PERFUSION_ASL", "asl"),
    ("GE MEDICAL SYSTEMS", "Sag BRAVO", "ORIGINAL PRIMARY OTHER", "T1w"),
    ("Philips", "WIP SOURCE - 3DpCASL", "ORIGINAL PRIMARY M_SE M SE", "asl"),
    ("Philips", "3DpCASL", "ORIGINAL PRIMARY PERFUSION_FFE PERFUSION FFE", "cbf"),
    ("Philips Medical Systems", "sT1W_3D_TFE", "ORIGINAL PRIMARY M_FFE M FFE", "T1w"),
    ("Philips", "SURVEY T1", "ORIGINAL PRIMARY M_FFE M FFE", None),
    ("SIEMENS", "tgse_pcasl_PLD2000", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", "asl"),
    ("SIEMENS", "pcasl_5delay", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", "asl"),
    ("SIEMENS", "tgse_pcasl_m0", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", "m0scan"),
    ("SIEMENS", "pasl_3d_m0", "ORIGINAL PRIMARY ASL NONE ND NORM MOSAIC", "m0scan"),
    ("SIEMENS", "Perfusion_Weighted", "DERIVED PRIMARY ASL SUBTRACTION", None),
    ("Siemens Healthineers", "relCBF", "DERIVED PRIMARY ASL RCBF", None),
    ("SIEMENS", "t1_mprage_sag_p2_iso", "ORIGINAL PRIMARY M ND NORM", "T1w"),
    ("SIEMENS", "t1_mprage_sag_MPR_Cor", "DERIVED PRIMARY MPR ND", None),
    ("SIEMENS", "ep2d_bold", "ORIGINAL PRIMARY M ND MOSAIC", None),
    ("SIEMENS", "ep2d_perf_p2", "ORIGINAL PRIMARY M ND", None),
    ("Philips", "DSC_perfusion", "ORIGINAL PRIMARY M_FFE M FFE", None),
    ("SIEMENS", "T1map", "ORIGINAL PRIMARY M ND", None),
    ("SIEMENS", "Encoded_Images_Had08_07_TIs_01_TEs", "ORIGINAL PRIMARY ASL NONE ND", None),
    ("SIEMENS", "tgse_pcasl_HAD8", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", None),
    ("SIEMENS", "hadamard_m0", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", "m0scan"),
    ("SIEMENS", "multi_te_pcasl", "ORIGINAL PRIMARY ASL NONE ND MOSAIC", "asl"),
    ("Philips", "WIP SOURCE - te-pCASL", "ORIGINAL PRIMARY M_FFE M FFE", None),
    ("UNITED IMAGING", "asl", "ORIGINAL PRIMARY ASL", None),
]


def role(maker: str, description: str, image_type: str, acquisition_type: str = "3D") -> Any:
    rules = heuristic.rules()
    kinds = tuple(image_type.split())
    return rules.role(rules.Traits(maker, description, description, kinds, acquisition_type))


@pytest.mark.parametrize(("maker", "description", "image_type", "kind"), ROLES)
def test_role_of_a_series(maker: str, description: str, image_type: str, kind: str | None) -> None:
    found = role(maker, description, image_type)
    assert found.kind == kind
    assert found.why


def test_a_thick_t1w_has_a_name_of_its_own() -> None:
    found = role("SIEMENS", "t1_fl2d_sag", "ORIGINAL PRIMARY M", acquisition_type="2D")
    stems = heuristic.rules().stems([found.kind, "T1w"])
    assert stems[0].endswith("_acq-2D_T1w")
    assert stems[1].endswith("}_T1w")


def test_runs_are_numbered_only_where_several_share_a_role() -> None:
    stems = heuristic.rules().stems(["asl", None, "asl", "T1w"])
    assert stems[0].endswith("_run-1_asl")
    assert stems[1] is None
    assert stems[2].endswith("_run-2_asl")
    assert stems[3].endswith("}_T1w")


# -- volumes -------------------------------------------------------------------------------------


def kinds(signal: list[float], tagged: tuple[str, ...] | None = None) -> tuple[str, ...]:
    return volumes.order(np.array(signal), tagged).types


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ([568, 98.5, 94, 97, 95, 98], ["m0scan", "n/a", *["label", "control"] * 2]),
        ([568, 567, 94, 97, 95, 98], ["m0scan", "m0scan", *["label", "control"] * 2]),
        ([568, 97, 94, 98, 95], ["m0scan", *["control", "label"] * 2]),
        ([110, 105, 111, 104], ["control", "label"] * 2),
        ([105, 110, 104, 111], ["label", "control"] * 2),
        ([268, 252, 253, 252.1, 253.2], ["m0scan", *["label", "control"] * 2]),
    ],
)
def test_order_from_the_signal(signal: list[float], expected: list[str]) -> None:
    found = volumes.order(np.array(signal), None)
    assert list(found.types) == expected
    assert found.origin.startswith("inferred")


@pytest.mark.parametrize("signal", [[95.0], [0.0, 0.0, 0.0]])
def test_too_little_to_tell_volumes_apart(signal: list[float]) -> None:
    found = volumes.order(np.array(signal), None)
    assert set(found.types) <= {"n/a"}
    assert len(found.types) == len(signal)
    assert found.pairs == 0


def test_a_bright_volume_between_pairs_is_no_m0() -> None:
    found = volumes.order(np.array([29.0, 30, 29, 30, 47, 30, 29, 30, 29, 30]), None)
    assert found.types == (*("label", "control") * 2, "n/a", "n/a", *("label", "control") * 2)
    assert any("Volume 5 is far brighter" in note for note in found.notes)


def test_empty_images_have_no_signal() -> None:
    assert volumes.mean_signal(np.zeros((3, 3, 3, 2))).tolist() == [0, 0]


def test_order_of_a_classic_philips_export() -> None:
    tagged = ("control", "label") * 3
    signal = [7.84, 7.83, 0.379, 0.366, 0.379, 0.367]
    assert kinds(signal, tagged) == ("m0scan", "m0scan", "control", "label", "control", "label")


def test_order_of_an_enhanced_philips_export() -> None:
    tagged = ("control", "control", "control", "label", "label", "label")
    signal = [7.84, 0.379, 0.379, 7.83, 0.366, 0.367]
    expected = ("m0scan", "control", "control", "m0scan", "label", "label")
    assert kinds(signal, tagged) == expected


@pytest.mark.parametrize(
    ("tagged", "signal"),
    [
        (("label", "control") * 3, [110, 105, 111, 104, 112, 103.0]),
        (("control", "label") * 3, [7.84, 7.83, 0.366, 0.379, 0.367, 0.378]),
        (("control",) * 3 + ("label",) * 3, [105, 104, 103, 110, 111, 112.0]),
        (("m0scan", *("label", "control") * 2), [268, 253, 252, 253, 252.0]),
    ],
)
def test_tags_stand_and_a_contradicting_signal_is_told(
    tagged: tuple[str, ...], signal: list[float]
) -> None:
    found = volumes.order(np.array(signal), tagged)
    kept = zip(found.types, tagged, strict=True)
    assert all(kind in {tag, "m0scan"} for kind, tag in kept)
    assert found.origin.startswith("header")
    (note,) = found.notes
    assert "signal contradicts the tags of the header: label is brighter" in note


def test_agreeing_tags_need_no_note() -> None:
    found = volumes.order(np.array([105, 110, 104, 111.0]), ("label", "control") * 2)
    assert (found.types, found.origin, found.notes) == (("label", "control") * 2, "header", ())


def test_pairs_of_equal_brightness_contradict_the_tags_too() -> None:
    found = volumes.order(np.array([105, 110, 111, 104.0]), ("label", "control") * 2)
    assert found.types == ("label", "control") * 2
    assert "control is not brighter than label in most pairs" in found.notes[0]


def test_tags_that_do_not_fit_the_volumes_are_not_used() -> None:
    found = volumes.order(np.array([105, 110, 104, 111.0]), ("control", "label"))
    assert found.types == ("label", "control") * 2
    assert found.origin == "inferred from the signal"
    assert "does not tag all of 4 volumes" in found.notes[0]


def test_suppression_from_the_brightness_of_m0() -> None:
    types = ("m0scan", "label", "control")
    assert volumes.suppressed(np.array([568, 94, 97.0]), types) is True
    assert volumes.suppressed(np.array([268, 252, 253.0]), types) is False
    assert volumes.suppressed(np.array([94, 97.0]), ("label", "control")) is None


def test_mean_signal_looks_at_the_head_only() -> None:
    data = np.zeros((10, 10, 10, 2))
    data[3:7, 3:7, 3:7] = [100.0, 50.0]
    np.testing.assert_allclose(volumes.mean_signal(data), [100, 50])


# -- parameters ----------------------------------------------------------------------------------

HEADER = {
    "ArterialSpinLabelingType": Parameter("PCASL", "header (x)"),
    "PostLabelingDelay": Parameter(1.2, "header (y)"),
    "BackgroundSuppression": Parameter(True, "inferred (z)"),
    "TotalAcquiredPairs": Parameter(8, "counted in the series"),
}


def said(origin: str = COMMAND_LINE, **values: Any) -> tuple[Answer, ...]:
    return (Answer(origin, Given(**values).values()),)


def test_the_header_wins_and_the_conflict_is_told() -> None:
    done = complete(HEADER, said(post_labeling_delay=(2.0,), labeling_duration=(1.8,)))
    assert done.parameters["PostLabelingDelay"] == Parameter(1.2, "header (y)")
    assert done.parameters["LabelingDuration"] == Parameter(1.8, "command line")
    assert done.missing == ()
    (conflict,) = done.conflicts
    assert conflict == (
        "PostLabelingDelay: the header (y) says 1.2, the command line says 2; the header was "
        "followed"
    )


def test_equal_values_are_no_conflict() -> None:
    done = complete(HEADER, said(post_labeling_delay=(1.2000001,), labeling_duration=(1.8,)))
    assert done.conflicts == ()


def test_the_user_overrides_an_inference() -> None:
    done = complete(HEADER, said(background_suppression=False, labeling_duration=(1.8,)))
    assert done.parameters["BackgroundSuppression"] == Parameter(False, "command line")
    (conflict,) = done.conflicts
    assert conflict == (
        "BackgroundSuppression: True was inferred (z), the command line says False; the command "
        "line was followed"
    )


def test_missing_parameters_name_their_options() -> None:
    done = complete({"TotalAcquiredPairs": Parameter(2, "counted")}, ())
    assert done.missing == (
        "ArterialSpinLabelingType",
        "PostLabelingDelay",
        "LabelingDuration",
        "BackgroundSuppression",
    )
    assert done.flags[1] == "--post-labeling-delay SECONDS"


def test_pasl_needs_a_bolus_cutoff_and_no_duration() -> None:
    header = HEADER | {"ArterialSpinLabelingType": Parameter("PASL", "header (x)")}
    assert complete(header, ()).missing == ("BolusCutOffDelayTime",)
    done = complete(header, said(bolus_cutoff=0.7, labeling_duration=(1.8,)))
    assert done.missing == ()
    assert done.parameters["BolusCutOffFlag"].value is True
    assert "LabelingDuration" not in done.parameters


def test_a_count_is_not_overridden_by_excitations() -> None:
    done = complete(HEADER, said(excitations=3, labeling_duration=(1.8,)))
    assert done.parameters["TotalAcquiredPairs"].value == 8
    assert done.conflicts == ()


@pytest.mark.parametrize("value", [0.0, -1.0, 1800.0, float("nan")])
def test_impossible_times(value: float) -> None:
    with pytest.raises(UsageError, match="--post-labeling-delay"):
        Given(post_labeling_delay=(value,))


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        (["15", "LX", "MR Software release:15.0_M4_0910.a"], 45.24),
        (["25", "LX", "MR Software release:DV25.0_R02_1549.b"], 32.0),
        (["29", "LX", "MR29.1_EA_2039.g"], 32.0),
        ("", 32.0),
    ],
)
def test_ge_scaling_depends_on_the_software(software: Any, expected: float) -> None:
    series: Any = SimpleNamespace(software=" ".join(software))
    assert ge.scaling(series) == expected


def test_siemens_protocol_text() -> None:
    text = (
        b"\0noise### ASCCONV BEGIN object=MrProt ###\nsAsl.ulMode\t = \t0x4\nalTI[0] = 700000\n"
        b'tSequenceFileName\t = \t""%SiemensSeq%\\tgse_pasl""\n### ASCCONV END ###noise'
    )
    element = SimpleNamespace(value=text)
    found = siemens.protocol_text({siemens.CSA_SERIES: element})
    assert found == {
        "sAsl.ulMode": "0x4",
        "alTI[0]": "700000",
        "tSequenceFileName": "%SiemensSeq%\\tgse_pasl",
    }


# -- privacy -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"PatientAge": "049Y"}, 49),
        ({"PatientAge": "018M"}, 1),
        ({"PatientBirthDate": "19500615", "StudyDate": "20200614"}, 69),
        ({"PatientBirthDate": "19500615", "StudyDate": "20200615"}, 70),
        ({"PatientBirthDate": "", "StudyDate": "20200615"}, None),
        ({"PatientBirthDate": "20300101", "StudyDate": "20200615"}, None),
    ],
)
def test_age(header: dict[str, str], expected: int | None) -> None:
    assert age_in_years(header) == expected


def test_the_oldest_are_not_told_apart() -> None:
    assert [published_age(age) for age in (89, 90, 104)] == ["89", "89+", "89+"]


def test_sidecars_are_an_allow_list() -> None:
    converted = {
        "EchoTime": 0.01,
        "InstitutionName": "Somewhere",
        "SeriesDescription": "asl of Jane",
        "SomethingNew": "2020-01-01",
        "SliceTiming": [0, 1],
        "MRAcquisitionType": "3D",
        "RepetitionTime": 13.9,
        "ReceiveCoilName": "Coil of Jane",
    }
    assert allowed(kept(converted, frozenset({"Jane"})), "asl") == {
        "EchoTime": 0.01,
        "MRAcquisitionType": "3D",
    }


def test_identifiers_match_whole_words_only() -> None:
    sidecar = {"a": "Marion", "b": "coil-mari", "c": ["x", "MARI"], "Manufacturer": "Mari"}
    assert without_identifiers(sidecar, frozenset({"mari"})) == {
        "a": "Marion",
        "Manufacturer": "Mari",
    }


def test_a_name_of_few_characters_is_found() -> None:
    header = {"PatientName": "LI^MING=\u674e^\u660e\u660e", "OperatorsName": "\u738b\u82b3"}
    for name in ("\u660e\u660e", "\u738b\u82b3"):
        assert privacy.without_persons(f"SOURCE {name} pCASL", header) == "SOURCE  pCASL"
        found = privacy.without_identifiers({"ReceiveCoilName": name}, privacy.identifiers(header))
        assert found == {}


def test_labels_are_given_by_arrival_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = KeyFile.read(path)
    assert key.entry("b", set())["label"] == "01"
    assert key.entry("a", set())["label"] == "02"
    key.write()
    assert path.stat().st_mode & 0o777 == 0o600
    again = KeyFile.read(path)
    assert again.entry("a", set())["label"] == "02"
    assert again.entry("c", {"07"})["label"] == "08"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.json"]


def test_a_broken_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"patients": {"x": {}}}), encoding="utf-8")
    with pytest.raises(InputError, match="key file"):
        KeyFile.read(path)


def study(uid: str, *series: str) -> Examination:
    nobody = Patient("key", None, None, frozenset())
    return Examination(nobody, uid, uid, series={one: {one} for one in series})


def folders(entry: dict[str, Any], *studies: Examination, forced: str | None = None) -> list[str]:
    placed = sessions.plan(entry, studies, forced, always=False)
    return [placed[one.study_uid].folder for one in studies]


def test_sessions_only_where_there_are_several_studies() -> None:
    def entry() -> dict[str, Any]:
        return {"label": "01", "studies": {}}

    assert folders(entry(), study("s1")) == ["sub-01"]
    assert folders(entry(), study("s1"), study("s2")) == ["sub-01/ses-01", "sub-01/ses-02"]
    assert folders(entry(), study("s1"), forced="baseline") == ["sub-01/ses-baseline"]
    always = sessions.plan(entry(), [study("s1")], None, always=True)
    assert always["s1"].prefix == "sub-01_ses-01"


def test_a_known_study_keeps_its_place_and_new_ones_follow() -> None:
    entry: dict[str, Any] = {"label": "03", "studies": {}}
    folders(entry, study("s1"), study("s2"))
    assert folders(entry, study("s2"), study("s3")) == ["sub-03/ses-02", "sub-03/ses-03"]


def test_studies_that_cannot_be_placed() -> None:
    entry: dict[str, Any] = {"label": "01", "studies": {}}
    folders(entry, study("s1"))
    with pytest.raises(InputError, match="without sessions"):
        folders(entry, study("s2"))
    with pytest.raises(InputError, match="several studies"):
        folders({"label": "01", "studies": {}}, study("s1"), study("s2"), forced="one")
    entry["studies"][privacy.anonymous("s1")]["series"] = ["a", "b"]
    with pytest.raises(InputError, match="would be replaced"):
        sessions.refuse_partial(entry, study("s1", "a"), Place("01"))


def test_a_shared_number_does_not_join_two_persons() -> None:
    one = privacy.patient_key({"PatientID": "ANON", "PatientBirthDate": "19500101"})
    other = privacy.patient_key({"PatientID": "ANON", "PatientBirthDate": "19600101"})
    assert one != other


def test_a_shared_number_without_a_birth_date_does_not_join_two_names() -> None:
    one, other, spelled = (
        privacy.patient_key({"PatientID": "0000", "PatientName": name})
        for name in ("CANARY^ONE", "CANARY^TWO", "Canary One")
    )
    assert one != other
    assert one == spelled


def test_a_patient_without_identity_is_not_joined_to_another() -> None:
    one = privacy.patient_key({"StudyInstanceUID": "1.2.3"})
    other = privacy.patient_key({"StudyInstanceUID": "1.2.4"})
    assert one != other
