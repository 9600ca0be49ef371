"""Matchers and their expressions: what fits, what is refused, and that nothing takes for ever."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.alerting.matchers import Matcher, parse_matcher
from operators.alerting.patterns import MAX_STATES, Pattern

LABELS = {"kind": "oversell", "node": "store-7", "text": 'a "b" \\ c'}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('kind="oversell"', True),
        ("kind=oversell", True),
        ("  kind  =  oversell  ", True),
        ("kind!=oversell", False),
        ('kind=~"over.*"', True),
        ("kind=~over", False),
        ("kind!~over", True),
        ('node=~"store-\\d+|dc-.*"', True),
        ('node=~"store-\\\\d+"', True),
        ('node=~"(?i)STORE-[0-9]"', True),
        ('region=""', True),
        ("region=", True),
        ("region!=north", True),
        ('region=~"north|"', True),
        ('text="a \\"b\\" \\\\ c"', True),
        ('kind=~"(store|over)sel{2}"', True),
        ("kind=~(?:o|v|e|r)+sell", True),
    ],
)
def test_what_fits(text: str, fits: bool) -> None:
    matcher = parse_matcher(text)
    assert matcher.fits(LABELS) is fits
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize(
    "text", ["", "kind", "=oversell", "1kind=a", 'kind="a', 'kind="a" x', 'kind=a"b"', "kind~a", "ki-nd=a"]
)
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ValueError, match="must be a matcher such as"):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a", "a ( without its )"),
        ("a)", "a ) without its ("),
        ("[a", "a [ without its ]"),
        ("[z-a]", "goes backwards"),
        ("[[:alpha:]]", "write it out"),
        ("*a", "repeats nothing"),
        ("{2}", "repeats nothing"),
        ("a**", "can't be repeated"),
        ("a{3,1}", "smallest first"),
        ("a{5000}", "not within 0 and 1,000"),
        ("(a{1000}){1000}", "repeats too much"),
        ("((){1000}){1000}", "repeats too much"),
        ("(?=a)", "not understood here"),
        ("(?P<x>a)", "not understood here"),
        (r"(a)\1", "not understood here"),
        (r"\bx", "not understood here"),
        (r"\p{L}", "not understood here"),
        ("a\\", "ends in a backslash"),
        ("(" * 200 + ")" * 200, "too many groups"),
    ],
)
def test_what_is_refused_is_said_in_words(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        Pattern(pattern)


_ATOMS = st.sampled_from(
    ["a", "b", "-", ".", r"\d", r"\W", "[ab]", "[^a]", "[a-c1]", "[]-]", "x", r"\.", ",", "^", "$"]
)


def _joined(parts: list[str]) -> str:
    return "".join(parts)


_PATTERNS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.lists(inner, max_size=4).map(_joined)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})")
        | st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        )
    ),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None)
@given(_PATTERNS, st.lists(st.text("ab1-.,x\n", max_size=7), min_size=1, max_size=6))
def test_it_means_what_it_means_to_python(pattern: str, texts: list[str]) -> None:
    """The standard library is the oracle; in it `$` is also before a last line break, so `\\Z` stands for it."""
    oracle = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
    found = Pattern(pattern)
    for text in texts:
        assert found.matches(text) is (oracle.fullmatch(text) is not None), text


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(a*)*(a*)*b", "(a?){60}a{60}", "((a|aa)+)+b"])
def test_no_expression_takes_for_ever(pattern: str) -> None:
    """Backtracking would need more steps than there is time: this one is through in states × characters."""
    assert Pattern(pattern).matches("a" * 4_000) is False


def test_states_are_bounded_exactly() -> None:
    Pattern("a{1000}" * (MAX_STATES // 1000 - 1))
    with pytest.raises(ValueError, match="repeats too much"):
        Pattern("a{1000}" * (MAX_STATES // 1000 + 1))


def test_a_matcher_says_itself_in_full() -> None:
    assert str(Matcher("node", "=~", 'a"\\d\n')) == 'node=~"a\\"\\\\d\\n"'
