"""T1 of arterial blood: from the command line, haematocrit, sex or field strength."""

from dataclasses import replace
from pathlib import Path

import pytest

from cereflow_bids.bids.metadata import read_labeling
from cereflow_bids.bids.parameters import Parameter
from cereflow_bids.bids.people import read_person
from cereflow_bids.bids.run import AslRun, Calibration, Person
from cereflow_bids.bids.sidecar import Sidecar
from cereflow_bids.cli.cereflow import parser
from cereflow_bids.cli.science_options import science_of
from cereflow_bids.errors import InputError, UsageError
from cereflow_bids.quantification.blood import with_blood
from cereflow_bids.quantification.science import Science

NOBODY = Person()
KNOWN = Person(haematocrit=Parameter("Haematocrit", 0.43, "", "participants.tsv"), sex="F")


def run_of(person=NOBODY, field=3.0):
    sidecar = {
        "ArterialSpinLabelingType": "PCASL",
        "PostLabelingDelay": 1.8,
        "LabelingDuration": 1.8,
        "MagneticFieldStrength": field,
        "MRAcquisitionType": "3D",
    }
    labeling, _ = read_labeling(Sidecar(sidecar, "asl"), ("control", "label"), (3, 3, 3))
    return AslRun(
        "sub-01", "01", None, Path("asl"), "sub-01", ("control", "label"), labeling,
        Calibration("refused"), acquisition={"MagneticFieldStrength": field}, person=person,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("person", "science", "value", "origin"),
    [
        (KNOWN, Science(t1_blood=1.6, t1_blood_from="sex"), 1.6, "command line"),
        (KNOWN, Science(haematocrit=0.30), 1.93, "derived"),
        (KNOWN, Science(t1_blood_from="sex"), 1.75, "derived"),
        (Person(sex="F"), Science(t1_blood_from="sex"), 1.908, "derived"),
        (Person(sex="M"), Science(t1_blood_from="sex"), 1.785, "derived"),
        (Person(), Science(t1_blood_from="sex"), 1.841, "derived"),
        (KNOWN, Science(t1_blood_from="age-sex"), 1.75, "derived"),
        (Person(sex="F", age=30), Science(t1_blood_from="age-sex"), 1.768, "derived"),
        (Person(sex="M", age=30), Science(t1_blood_from="age-sex"), 1.698, "derived"),
        (Person(sex="M", age=12), Science(t1_blood_from="age-sex"), 1.65, "default"),
        (Person(sex="M"), Science(), 1.65, "default"),
    ],
)
def test_what_is_known_best_goes_first(person, science, value, origin):
    t1 = with_blood(run_of(person), science).labeling.t1_blood
    assert (t1.value, t1.origin) == (pytest.approx(value, abs=5e-3), origin)


def test_the_record_says_whose_haematocrit_it_is():
    note = with_blood(run_of(KNOWN), Science()).labeling.t1_blood.note
    assert "0.43 (participants.tsv) at 3 T, Hales 2016" in note


def test_a_participant_without_the_haematocrit_of_the_others_is_told():
    run = with_blood(run_of(Person(haematocrit_missing=True)), Science())
    assert "not of this participant" in run.notes[0]
    assert not with_blood(run_of(), Science()).notes
    assert not with_blood(run_of(Person(haematocrit_missing=True)), Science(t1_blood=1.7)).notes


@pytest.mark.parametrize(
    ("person", "source", "told"),
    [
        (NOBODY, "sex", ("participant: sex (F or M).", "column sex.", "women and men, 1.841 s")),
        (NOBODY, "age-sex", ("sex (F or M) and age (18", "column sex and age.", "1.65 s")),
        (Person(age=30), "age-sex", ("participant: sex (F or M).", "column sex.")),
        (Person(sex="F", age=9), "age-sex", ("participant: age (18 years or more).",)),
        (Person(sex="F"), "sex", ()),
        (Person(sex="F", age=30), "age-sex", ()),
    ],
)
def test_who_is_not_known_by_age_and_sex_is_told(person, source, told):
    notes = with_blood(run_of(person), Science(t1_blood_from=source)).notes
    assert len(notes) == bool(told)
    assert all(words in notes[0] for words in told)


def test_scanners_that_write_2_89_tesla_mean_3():
    at = [
        with_blood(run_of(KNOWN, field), Science()).labeling.t1_blood.value for field in (2.89, 3)
    ]
    assert at[0] == at[1]


def test_sex_tells_nothing_at_another_field_strength():
    with pytest.raises(InputError, match="sex knows T1 of blood at 3 T"):
        with_blood(run_of(Person(sex="F"), 1.5), Science(t1_blood_from="sex"))
    with pytest.raises(InputError, match="field strength must be"):
        with_blood(run_of(KNOWN, 0.55), Science())


def table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(row) for row in rows) + "\n", encoding="utf-8")


def test_haematocrit_is_read_of_the_session_before_the_participant(tmp_path):
    assert read_person(tmp_path, "01", None) == Person()
    people = tmp_path / "participants.tsv"
    table(people, ("participant_id", "Sex", "Hematocrit", "age"), ("sub-01", "f", "0.38", "89+"),
          ("sub-02", "M", "n/a", "n/a"))  # fmt: skip
    assert read_person(tmp_path, "01", None).age == 89
    assert read_person(tmp_path, "01", None).haematocrit.value == 0.38
    assert read_person(tmp_path, "01", None).sex == "F"
    other = read_person(tmp_path, "02", None)
    assert other == Person(haematocrit_missing=True, sex="M")
    sessions = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    table(sessions, ("session_id", "haematocrit"), ("ses-1", "0.41"), ("ses-2", "n/a"))
    first = read_person(tmp_path, "01", "1").haematocrit
    assert (first.value, first.origin) == (0.41, "sessions.tsv")
    assert read_person(tmp_path, "01", "2").haematocrit.origin == "participants.tsv"


@pytest.mark.parametrize(
    ("text", "told"), [("42", "looks like a percentage"), ("0,42", "0,42"), ("0.9", "0.9")]
)
def test_a_haematocrit_that_is_no_fraction_is_an_error_and_never_rescaled(tmp_path, text, told):
    table(tmp_path / "participants.tsv", ("participant_id", "haematocrit"), ("sub-01", text))
    with pytest.raises(InputError, match=told):
        read_person(tmp_path, "01", None)
    assert read_person(tmp_path, "02", None) == Person()


def test_two_rows_that_disagree_are_not_chosen_between(tmp_path):
    rows = (("participant_id", "haematocrit"), ("sub-01", "0.4"), ("sub-01", "0.3"))
    table(tmp_path / "participants.tsv", *rows)
    with pytest.raises(InputError, match="2 different values"):
        read_person(tmp_path, "01", None)


def arguments(*options):
    return parser().parse_args(["bids", "out", "participant", *options])


def test_options_become_choices():
    assert science_of(arguments()) == Science()
    assert science_of(arguments("--haematocrit", "0.4")).haematocrit == 0.4
    assert science_of(arguments("--t1-blood", "1.7")).t1_blood == 1.7
    assert science_of(arguments("--t1-blood-from", "sex")).t1_blood_from == "sex"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--haematocrit", "42"), "42 is not a fraction from 0.1 to 0.7."),
        (("--haematocrit", "0.9"), "0.9 is not a fraction from 0.1 to 0.7."),
        (("--haematocrit", "0,42"), "'0,42' is not a number; write decimals with a point"),
        (("--t1-blood", "1650"), "1650 is not a number of seconds from 0.5 to 5."),
        (("--t1-blood", "1.7", "--haematocrit", "0.4"), "not allowed with"),
        (("--bolus-duration", "nan"), "nan is not a number of seconds from 0.1 to 5."),
        (("--m0-smoothing", "-1"), "-1 is not a number from 0 on."),
        (("--point-spread", "wide"), "'wide' is not a number"),
        (("--t1-tissue", "0"), "0 is not a number above 0."),
        (("--random-seed", "1.5"), "'1.5' is not a whole number from 0 on."),
    ],
)
def test_options_that_cannot_be_are_refused(options, told, capsys):
    with pytest.raises(SystemExit):
        arguments(*options)
    message = capsys.readouterr().err
    assert told in message
    assert "invalid _" not in message


def test_the_product_equation_keeps_its_own_blood():
    with pytest.raises(UsageError, match="of its own"):
        science_of(arguments("--quantification", "ge-product", "--t1-blood", "1.7"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--quantification", "ge-product", "--t1-tissue", "1.5"), "T1 of tissue of its own"),
        (("--point-spread", "4"), "not asked for"),
        (("--t1-blood", "1.8", "--t1-blood-from", "sex"), "counts for all"),
        (("--m0-reference", "csf", "--m0-smoothing", "8"), "one M0 of blood"),
    ],
)
def test_options_without_effect_on_any_run_are_refused(options, told):
    with pytest.raises(UsageError, match=told):
        science_of(arguments(*options))


def test_another_t1_of_blood_makes_a_run_new():
    assert repr(replace(run_of(), person=KNOWN)) != repr(run_of())
