"""The words of the report in English, Ukrainian and Russian: a TOML file for each language, all with the same keys.

Numbers, plurals and durations are written as each language does it.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, get_args

from vitrine.errors import InputError

Language = Literal["en", "uk", "ru"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

NO_BREAK, THIN = "\u00a0", "\u202f"
"""Spaces that no line is broken at: a plain one, and the narrow one between thousands."""


@dataclass(frozen=True)
class Words:
    """What is said in one language. texts: key -> text with {places}; counted: noun -> its forms after a number."""

    language: Language
    texts: Mapping[str, str]
    counted: Mapping[str, tuple[str, ...]]

    def text(self, key: str, values: Mapping[str, str] | None = None) -> str:
        """The text of that key, its {places} filled. Raises KeyError for what is not in the file: a mistake of ours."""
        return self.texts[key].format_map(values or {})

    def count(self, n: int, noun: str) -> str:
        r"""A number with its noun.

        >>> [load("en").count(n, "image") for n in (1, 10_000)] == ["1\u00a0image", "10,000\u00a0images"]
        True
        >>> [load("uk").count(n, "epoch").split("\u00a0")[1] for n in (1, 2, 5, 11, 12, 21, 24, 111)]
        ['епоха', 'епохи', 'епох', 'епох', 'епох', 'епоха', 'епохи', 'епох']
        """
        return f"{self.whole(n)}{NO_BREAK}{self.counted[noun][_form(self.language, n)]}"

    def whole(self, n: int) -> str:
        r"""A whole number: 10,000 in English, 10 000 (narrow space) in the others; four digits stay together there.

        >>> load("en").whole(1234), load("ru").whole(1234), load("uk").whole(12345) == "12\u202f345"
        ('1,234', '1234', True)
        """
        text = f"{n:,}"
        if self.language != "en":
            text = str(n) if abs(n) < 10_000 else text.replace(",", THIN)
        return text.replace("-", "−")

    def number(self, value: float, decimals: int) -> str:
        """With so many decimals; a dash for what is not finite.

        >>> load("en").number(0.94971, 4), load("uk").number(0.94971, 4), load("ru").number(-0.5, 1)
        ('0.9497', '0,9497', '−0,5')
        """
        if not math.isfinite(value):
            return "–"
        text = f"{value:.{decimals}f}".replace("-", "−")
        return text if self.language == "en" else text.replace(".", ",")

    def percent(self, share: float, decimals: int = 1) -> str:
        r"""A share of one.

        >>> load("ru").percent(0.9732) == "97,3\u00a0%"
        True
        """
        return f"{self.number(100 * share, decimals)}{NO_BREAK}%"

    def probability(self, value: float) -> str:
        r"""A probability for people, who should not read that anything is certain.

        >>> [load("en").probability(p).replace("\u00a0", " ") for p in (0.9732, 0.99997, 0.0)]
        ['97.3 %', '> 99.9 %', '< 0.1 %']
        """
        if value > 0.999:
            return f">{NO_BREAK}{self.percent(0.999)}"
        return f"<{NO_BREAK}{self.percent(0.001)}" if value < 0.001 else self.percent(value)

    def spread(self, mean: float, sd: float, decimals: int) -> str:
        """Mean ± standard deviation."""
        return f"{self.number(mean, decimals)}{NO_BREAK}±{NO_BREAK}{self.number(sd, decimals)}"

    def duration(self, seconds: float) -> str:
        r"""Hours, minutes and seconds, the two largest that there are.

        >>> [load("en").duration(s).replace("\u00a0", " ") for s in (0.26, 59.6, 100, 3725)]
        ['0.26 s', '1 min 0 s', '1 min 40 s', '1 h 2 min']
        """
        units = [self.texts[f"unit.{unit}"] for unit in ("hour", "minute", "second")]
        if seconds < 10:
            return f"{self.number(seconds, 1 if seconds >= 1 else 2)}{NO_BREAK}{units[2]}"
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        parts = [(hours, units[0]), (minutes, units[1]), (rest, units[2])]
        first = next(place for place, (n, _) in enumerate(parts) if n)
        return NO_BREAK.join(f"{n}{NO_BREAK}{unit}" for n, unit in parts[first : first + 2])


def load(language: str) -> Words:
    """The words of a language. Raises InputError for one that is not there."""
    if language not in LANGUAGES:
        raise InputError(f"The language {language!r} is not known; known are {', '.join(LANGUAGES)}.")
    content = (resources.files("vitrine.messages") / f"{language}.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(content)
    counted = {noun: tuple(forms) for noun, forms in tables.pop("counted").items()}
    return Words(next(each for each in LANGUAGES if each == language), dict(_flat(tables)), counted)


def _flat(tables: dict[str, Any]) -> list[tuple[str, str]]:
    """`[unit] second = "s"` as ("unit.second", "s")."""
    return [(f"{table}.{key}", text) for table, entries in tables.items() for key, text in entries.items()]


def _form(language: Language, n: int) -> int:
    """Which of a noun's forms goes with a whole number (Unicode CLDR: one, other; one, few, many)."""
    n = abs(n)
    if language == "en":
        return int(n != 1)
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if 2 <= n % 10 <= 4 and not 12 <= n % 100 <= 14 else 2
