import math

import pytest

from germane import scales
from germane.types import InputError, Scale


@pytest.mark.parametrize("scale", scales.BUILT_IN.values(), ids=str)
def test_a_built_in_scale_runs_from_no_gain_to_full_gain_and_its_guide_names_every_label(scale):
    assert scale.gains[0] == 0
    assert scale.gains[-1] == 1
    assert all(f"**{label}**" in scale.guide for label in scale.labels)
    assert [scale.relevance(label.upper()) for label in scale.labels] == list(range(len(scale.labels)))


def test_esci_ratings_and_letters_are_the_same_labels():
    assert [scales.ESCI.relevance(x) for x in ("I", "C", "S", "E")] == [scales.ESCI.relevance(x) for x in (0.0, 1, "10", 100)]


def test_five_level_grades_count_from_one_in_files_and_from_zero_inside():
    assert scales.FIVE_LEVEL.relevance(5) == 4
    with pytest.raises(InputError, match="label 0 is not on scale 'five-level'"):
        scales.FIVE_LEVEL.relevance(0)


@pytest.mark.parametrize("label", [math.nan, None, "", "EE", "2.5", True])
def test_what_is_no_label_is_refused_by_name(label):
    with pytest.raises(InputError, match="is not on scale 'trec'"):
        scales.TREC.relevance(label)


def test_the_version_moves_with_the_rubric_and_not_with_the_gains():
    one = Scale("s", ("no", "yes"), (0, 1), "rubric")
    assert one.version == Scale("s", ("no", "yes"), (0, 0.5), "rubric").version
    assert one.version != Scale("s", ("no", "yes"), (0, 1), "rubric, second edition").version
    assert one.version != Scale("s", ("bad", "good"), (0, 1), "rubric").version


def test_a_scale_of_ones_own_comes_from_toml(tmp_path):
    (tmp_path / "guide.md").write_text("Is it any good?")
    path = tmp_path / "mine.toml"
    path.write_text('labels = ["bad", "so-so", "good"]\nguide_file = "guide.md"\n[aliases]\n"meh" = "so-so"\n')
    scale = scales.get(path)
    assert (scale.name, scale.gains, scale.relevance("MEH"), scale.guide) == ("mine", (0, 0.5, 1), 1, "Is it any good?")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('labels = ["a"]\nguide = "g"', "at least two strings"),
        ('labels = ["a", "A"]\nguide = "g"', "nothing but their case"),
        ('labels = ["a", "b"]', "'guide' is missing"),
        ('labels = ["a", "b"]\nguide = "g"\ngains = [1, 0]', "must not fall"),
        ('labels = ["a", "b"]\nguide = "g"\ngains = [0]', "2 labels and 1 gains"),
        ('labels = ["a", "b"]\nguide = "g"\ngains = [0, true]', "list of numbers"),
        ('labels = ["a", "b"]\nguide = "g"\ngain = [0, 1]', "unknown key 'gain'"),
        ('labels = ["a", "b"]\nguide = "g"\n[aliases]\nx = "c"', "not among the labels"),
        ('labels = ["a", "b"]\nguide = "g"\nname = "trec"', "is a built-in scale's"),
        ('labels = ["a", " "]\nguide = "g"', "a label is empty"),
        ('labels = ["a", "b"]\nguide = "g"\naliases = 3', "must be a table"),
        ('labels = ["a", "b"]\nguide = "g"\nname = 5', "'name' must be a string"),
        ('labels = ["a", "b"]\nguide = "g"\n[aliases]\nB = "a"', "is a label of its own"),
        ('labels = ["a", "b"', "scale file"),
        ('labels = ["a", "b"]\nguide_file = "missing.md"', "missing.md"),
    ],
)
def test_a_file_that_is_no_scale_is_refused_in_one_line(tmp_path, text, problem):
    path = tmp_path / "s.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as found:
        scales.get(path)
    assert "\n" not in str(found.value)


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(InputError, match="Did you mean 'esci'"):
        scales.get("ESCII")
