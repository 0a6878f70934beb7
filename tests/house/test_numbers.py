"""Decimals in README, pages and cards stand, rounded, in the results that their section links to."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RESULTS, CARDS, DOCS = ROOT / "benchmarks" / "results", ROOT / "src" / "sparsevision" / "weights", ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md")), *sorted(CARDS.glob("*.md"))]
# What no run of ours gave: published figures and constants.
STATED = tomllib.loads(Path(__file__).with_name("stated_numbers.toml").read_text(encoding="utf-8"))

FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
# Inline code, identifiers of papers, addresses of links, references to sections, versions of Python and licences.
NO_CLAIM = re.compile(
    r"`[^`\n]*`|arXiv[ :]\d+\.\d+|\]\([^)\s]*\)|\bdoi \S+|(?:Python|CC BY|Apache License) \d\.\d+|Apache-2\.0"
    r"|(?:Sections?|Appendix|Eqs?\.)(?: (?:and )?[A-Z]?\.?\d[\d.]*,?)+"
)
NUMBER = re.compile(r"(?<![\w.,/])\d[\d,]*\.\d+(?!\d|\.\w|[^\W\dx]|x\w|/)(?: ?%)?")
LINKED = re.compile(r"results/(\w+)\.(?:md|json|csv)|weights/([\w.]+?)\.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_numbers_stand_in_the_results_that_are_linked(page: Path) -> None:
    stated = STATED.get(page.relative_to(ROOT).as_posix(), {})
    missing, used = unsupported(page.read_text(encoding="utf-8"), stated)
    assert not missing
    assert {(heading, number) for heading, numbers in stated.items() for number in numbers} == used, (
        "gone from the page"
    )


def test_pages_of_stated_numbers_exist() -> None:
    assert {*STATED} <= {page.relative_to(ROOT).as_posix() for page in PAGES}


def test_a_number_of_no_result_is_found() -> None:
    link = "[table](https://host/benchmarks/results/detr_speed_claims.md)"
    missing, used = unsupported(
        f"# A\n{link} 4.6x, 1,587.0 ms\n## B\n4.6x\n## C\n{link} `9.87`, 9.87x, 1.5", {"C": ["1.5"]}
    )
    assert missing == ["B: 4.6", "C: 9.87"]
    assert used == {("C", "1.5")}
    assert fits("62.7 %", Decimal("62.65"))
    assert not fits("62.7 %", Decimal("62.64"))


def unsupported(text: str, stated: Mapping[str, Sequence[str]]) -> tuple[list[str], set[tuple[str, str]]]:
    """Returns the numbers of a page that no linked result has, and those that are stated, with their headings."""
    missing, used = [], set()
    for section in re.split(r"^(?=#+ )", FENCE.sub("", text), flags=re.MULTILINE):
        heading = section.partition("\n")[0].lstrip("# ")
        links = LINKED.findall(section)
        for found in NUMBER.findall(NO_CLAIM.sub("", section)):
            number, percent = found.rstrip(" %"), found.endswith("%")
            known = (value for result, card in links for value in (measured(result, percent) if result else told(card)))
            if number in stated.get(heading, ()):
                used.add((heading, number))
            elif not any(fits(number, value) for value in known):
                missing.append(f"{heading}: {number}")
    return missing, used


def fits(number: str, value: Decimal) -> bool:
    """Returns whether a number is a value, rounded to as many digits as it has."""
    exact = Decimal(number.rstrip(" %").replace(",", ""))
    return abs(exact - value) <= Decimal(5).scaleb(exact.as_tuple().exponent - 1)  # type: ignore[operator]


@cache
def measured(name: str, percent: bool) -> list[Decimal]:
    """Returns the decimals of a result's page, or, where it has none, the values of its json, shares as percentages."""
    page, record = RESULTS / f"{name}.md", RESULTS / f"{name}.json"
    if page.is_file():
        return sorted({*decimals(page)})
    assert record.is_file() or (RESULTS / f"{name}.csv").is_file(), f"there is no result {name}"
    values = {Decimal(repr(value)) for value in leaves(json.loads(record.read_text()))} if record.is_file() else set()
    return sorted(100 * value for value in values if abs(value) <= 1) if percent else sorted(values)


@cache
def told(name: str) -> list[Decimal]:
    """Returns the decimals of a card."""
    return sorted({*decimals(CARDS / f"{name}.md")})


def decimals(path: Path) -> Iterator[Decimal]:
    """Yields every decimal of a file."""
    for text in re.findall(r"(?<![\w.])\d[\d,]*\.\d+", path.read_text(encoding="utf-8")):
        yield Decimal(text.replace(",", ""))


def leaves(content: Any) -> Iterator[float]:
    """Yields every number of a json."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for each in content:
            yield from leaves(each)
    elif isinstance(content, float):
        yield content
