"""The lexical features, each by hand."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from germane.judges import lexical
from germane.judges.lexical import NAMES, features, idf, negations, numbers, read, stem


def of(query: str, text: str, **options: object) -> dict[str, float]:
    return dict(zip(NAMES, features([query], [text], **options)[0].tolist(), strict=True))


@pytest.mark.parametrize(
    ("query", "text", "name", "expected"),
    [
        ("blue chair", "Chair\nA blue one", "words", 1.0),
        ("blue chair", "Chair\nA blue one", "words in title", 0.5),
        ("blue chair", "title: Chair\nA blue one", "title words asked", 1.0),  # the label is no word of the title
        ("blue chair", "Big oak chair\nblue", "title words asked", 1 / 3),
        ("blue chair", "A blue chair of oak", "phrase", 1.0),
        ("blue chair", "A chair, blue", "phrase", 0.0),
        ("blue chair", "Seat\nblue chair", "phrase in title", 0.0),
        ("chairs", "A chair", "words", 0.0),
        ("chair", "Two chairs", "stems", 1.0),
        ("running shoe", "shoes for runners", "stems in title", 0.5),
        ("tv", "tvs", "stems", 0.0),  # too short for a stem
        ("GRÖSSE 42", "größe 42", "words", 1.0),
        ("kaffee", "coffee", "3-grams", 3 / 6),  # "ffe", "fee" and "ee " of " ka", "kaf", "aff", "ffe", "fee", "ee "
        ("abc", "xabcx", "3-grams", 1 / 3),
        ("100 ft hose", "hose, 100ft", "numbers present", 1.0),
        ("100 ft hose", "hose, 50 ft", "numbers conflicting", 1.0),
        ("100 ft hose", "hose, 50 gallons", "numbers absent", 1.0),  # it counts something else
        ("100 ft hose", "a hose", "numbers absent", 1.0),
        ("iphone 13 case", "Case for iPhone 12 Pro", "numbers conflicting", 1.0),
        ("iphone 13 case", "Case for iPhone 12 and iPhone 13", "numbers conflicting", 0.0),
        ("2 pack 60w bulb", "Bulb 60W, 4 pack", "numbers present", 0.5),
        ("2 pack 60w bulb", "Bulb 60W, 4 pack", "numbers conflicting", 0.5),
        ("1,000 piece puzzle", "puzzle of 1000 pieces", "numbers present", 1.0),
        ("3,5 mm", "3.5mm", "numbers present", 1.0),
        ('27" monitor', "Monitor 27 inch", "numbers present", 1.0),
        ("wh1000xm4 headphones", "Sony WH1000XM4", "codes present", 1.0),
        ("wh1000xm4 headphones", "Sony WH1000XM5", "codes absent", 1.0),
        ("chair without arms", "Chair with arms", "negation", 1.0),
        ("chair without arms", "Chair with arms", "negated present", 1.0),
        ("chair without arms", "Chair without arms", "negated present", 0.0),
        ("chair without arms", "Chair without arms", "negated kept", 1.0),
        ("chair without arms", "Chair, no arms; other chairs have arms", "negated present", 1.0),
        ("chair w/o arms", "Chair with an arm rest", "negated present", 0.0),
        ("sugar free cookies", "Cookies with sugar", "negated present", 1.0),
        ("sugar-free cookies", "Sugar-free cookies", "negated kept", 1.0),
        ("zuckerfreie kekse", "Kekse mit Zucker", "negation", 0.0),  # inflected: not seen, a limit of this
        ("zuckerfrei", "Kekse mit Zucker", "negated present", 1.0),
        ("Kekse ohne Zucker", "zuckerfrei: Kekse", "negated kept", 1.0),
        ("leche sin lactosa", "Leche con lactosa", "negated present", 1.0),
        ("robe sans manches", "Robe sans manches", "negated kept", 1.0),
        ("no 7 serum", "serum", "negation", 0.0),
        ("sugar cookies", "Sugar-free cookies", "asked denied", 0.5),
        ("sugar cookies", "Cookies, not salt but sugar", "asked denied", 0.0),
        ("chair without arms", "chair", "words", 1.0),  # what is negated is not asked for
        ("a b c", "d", "query words", 3.0),
        ("abc de", "d", "log query letters", float(np.log(6))),
        ("a", "one two\nthree", "log text words", float(np.log(4))),
        ("a", "one two\nthree", "log title words", float(np.log(3))),
    ],
)
def test_a_feature_is_what_one_counts_by_hand(query, text, name, expected):
    assert of(query, text)[name] == pytest.approx(expected, abs=1e-6)


def test_languages_without_spaces_are_read_by_their_3_grams():
    found = of("青い椅子", "とても青い椅子です")
    assert found["words"] == 0.0
    assert found["3-grams"] == pytest.approx(2 / 4)  # of " 青い", "青い椅", "い椅子", "椅子 "


def test_weights_make_a_rare_word_count_more():
    weights = idf(["red chair", "blue chair", "chair of oak"])
    plain, weighted = of("oak chair", "A chair"), of("oak chair", "A chair", weights=weights)
    assert plain["words, weighted"] == 0.5
    assert weighted["words, weighted"] < 0.2
    assert {name: x for name, x in plain.items() if name != "words, weighted"} == {
        name: x for name, x in weighted.items() if name != "words, weighted"
    }


def test_a_word_that_no_weight_is_known_of_counts_as_the_rarest():
    assert of("oak chair", "oak", weights={"chair": 1.0, "red": 3.0})["words, weighted"] == 0.75


def test_idf_keeps_the_words_of_most_texts():
    assert set(idf(["a b", "a c", "a b d"], most=2)) == {"a", "b"}


def test_negations_name_the_negator_and_the_negated():
    assert negations(["chair", "without", "the", "arms"]) == ([1], [3])
    assert negations(["without"]) == ([], [])
    assert negations(["free", "shipping"]) == ([], [])


def test_numbers_come_with_what_they_count():
    assert numbers("size 10, 12-pack of 1.5 litres") == [
        (10.0, frozenset({"size"})),
        (12.0, frozenset({"pack"})),
        (1.5, frozenset({"litr", "of"})),
    ]
    assert numbers("wh1000xm4") == []
    assert numbers("version 1.2.3 of 1,50 or 12,345.6") == [
        (1.2, frozenset({"vers", "of"})),
        (1.5, frozenset({"of", "or"})),
        (12345.6, frozenset({"or"})),
    ]


def test_a_stem_has_four_letters_at_least():
    assert (stem("run"), stem("runs"), stem("running")) == ("", "runs", "runni")


def test_a_text_that_was_read_before_gives_the_same_numbers():
    texts = ["Chair without arms\n100 ft", "Sugar-free cookies", ""]
    queries = ["chair with arms 50 ft", "cookies", "nothing"]
    np.testing.assert_array_equal(features(queries, texts), features(queries, [read(text) for text in texts]))


@given(st.lists(st.tuples(st.text(max_size=40), st.text(max_size=120)), max_size=6))
def test_any_text_gives_finite_numbers_and_shares_between_0_and_1(pairs):
    found = features([q for q, _ in pairs], [t for _, t in pairs])
    assert found.shape == (len(pairs), len(NAMES))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    counts = [i for i, name in enumerate(NAMES) if name in ("numbers", "query words") or name.startswith("log")]
    shares = np.delete(found, counts, axis=1)
    assert ((shares >= 0) & (shares <= 1)).all()


@given(st.text(alphabet="ab cdé1ß-", max_size=30))
def test_a_text_has_all_of_its_own_words(text):
    found = of(text, text)
    if lexical.fold(text).strip() and re.search(r"[^\W_]", text) and "-" not in text:
        assert found["words"] == 1.0
        assert found["stems"] == 1.0
