"""The space of a search: what a command leaves open, in Hydra's grammar of sweeps.

optimizer=adam,sgd                                        choices
model.hidden=range(32,513,step=32)                        choices in an order
optimizer.lr=interval(1e-4,1e-1)                          a range; on a log scale from a factor of 100 on
data.batch_size=int(interval(16,512))                     whole numbers, which a key of the schema has by itself
model.dropout=tag(linear,interval(0.001,0.5))             a scale of one's own: log or linear
optimizer.momentum=tag("optimizer=sgd",interval(0.8,0.99))    drawn where the condition holds
model.layers=1,2,3                                        depth: each layer as wide as model.hidden
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep

from mlplab.config.fields import fields
from mlplab.config.schema import Config

LAYERS = "model.layers"  # a key of spaces alone
LOG_FROM = 100  # factor between two ends from which a range is drawn on a log scale by itself
DIGITS = 3  # significant ones of a drawn value, so that what is printed is what was trained
SCALES = ("log", "linear")
NOT_SEARCHED = {
    "seed": "is chance, and picking the best seed is what a search must not do",
    "data.split_seed": "decides by which images draws are compared",
    "data.val_size": "decides by which images draws are compared",
    "data": "draws are compared on one data set: give a command for each",
    "data.name": "draws are compared on one data set: give a command for each",
    "trainer.max_epochs": "draws are compared at equal lengths",
    "trainer.max_steps": "draws are compared at equal lengths",
    "monitor": "decides which weights a draw is compared by",
    "experiment": "sets many keys at once: give one, or the keys that differ",
}

Assignment = Mapping[str, str]  # a value as it is typed, by key; without the keys whose condition does not hold


@dataclass(frozen=True)
class Condition:
    key: str
    value: str

    def holds(self, values: Assignment) -> bool:
        return values.get(self.key) == self.value

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(frozen=True)
class Dimension:
    """A key that a command leaves open: `choices`, or all numbers from `low` to `high`."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    is_whole: bool = False
    is_log: bool = False
    condition: Condition | None = None

    @property
    def is_range(self) -> bool:
        return not self.choices

    @property
    def is_ordered(self) -> bool:
        """True for a range, and for choices that are rising numbers."""
        numbers = [_number(choice) for choice in self.choices]
        known = [number for number in numbers if number is not None]
        return len(known) == len(numbers) and all(a < b for a, b in itertools.pairwise(known))

    @property
    def size(self) -> float:
        """The number of values; infinite for a range that is not of whole numbers."""
        if self.choices:
            return len(self.choices)
        return len(self.whole_numbers()) if self.is_whole else math.inf

    def whole_numbers(self) -> list[str]:
        """The values of a range of whole numbers, without those that rounding makes equal."""
        return list(dict.fromkeys(self.text(number) for number in range(int(self.low), int(self.high) + 1)))

    def text(self, number: float) -> str:
        """A number of the range as it is typed, rounded, and never outside."""
        if self.is_whole:
            rounded = float(f"{number:.{DIGITS}g}") if abs(number) >= 1 else 0.0
            return str(int(min(max(rounded, self.low), self.high)))
        return f"{min(max(float(f'{number:.{DIGITS}g}'), self.low), self.high):.12g}"

    def at(self, share: float) -> str:
        """The value at a share of the dimension, from 0 to below 1, with all values equally likely on its scale."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.is_whole and not self.is_log:
            return self.text(math.floor(self.low + share * (self.high - self.low + 1)))
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            drawn = math.exp(low + share * (high - low))
            return self.text(round(drawn) if self.is_whole else drawn)
        return self.text(self.low + share * (self.high - self.low))

    def ends(self) -> list[str]:
        """The values that the schema has to allow."""
        return list(self.choices) or [self.text(self.low), self.text(self.high)]

    def __str__(self) -> str:
        scale = f" on a {'log' if self.is_log else 'linear'} scale" if self.is_range else ""
        whole = "whole numbers " if self.is_whole and self.is_range else ""
        values = ", ".join(self.choices) if self.choices else f"{whole}{self.low:g} to {self.high:g}{scale}"
        return f"{self.key}: {values}{f', where {self.condition}' if self.condition else ''}"


@dataclass(frozen=True)
class Space:
    dimensions: tuple[Dimension, ...]  # one after those that its condition names
    fixed: tuple[str, ...]  # key=value of every draw

    @classmethod
    def of(cls, overrides: Sequence[Override]) -> tuple[Self, list[str]]:
        """Read the space of a command, and what is wrong with it, a line each."""
        last = {override.get_key_element(): override for override in overrides}
        read = [_Reader(override) for override in last.values()]
        mistakes = [mistake for reader in read for mistake in reader.mistakes()]
        good = [reader for reader in read if not any(reader.mistakes())]
        found = [reader.dimension() for reader in good if reader.is_open]
        fixed = [f"{one.key}={one.override.get_value_element_as_str()}" for one in good if not one.is_open]
        space = cls(tuple(sorted(found, key=lambda one: one.condition is not None)), tuple(fixed))
        return space, [*mistakes, *space._mistakes()]

    def _mistakes(self) -> Iterator[str]:
        by_key = {one.key: one for one in self.dimensions}
        values = dict(word.split("=", 1) for word in self.fixed)
        for one in self.dimensions:
            if one.condition is not None:
                other = by_key.get(one.condition.key)
                possible = other.choices if other else filter(None, [values.get(one.condition.key)])
                if one.condition.value not in possible:
                    yield f"{one.key}: where {one.condition} is never so in this space"
        if LAYERS in by_key and "model.hidden" not in {*by_key, *values}:
            yield f"{LAYERS}: needs model.hidden, the width of each layer"

    @property
    def size(self) -> float:
        """The number of assignments; infinite if there are ranges."""
        return sum(1 for _ in self.all()) if all(one.size < math.inf for one in self.dimensions) else math.inf

    def active(self, dimension: Dimension, values: Assignment) -> bool:
        """Tell whether a dimension is drawn where these values have been."""
        given = dict(word.split("=", 1) for word in self.fixed)
        return dimension.condition is None or dimension.condition.holds({**given, **values})

    def all(self) -> Iterator[dict[str, str]]:
        """Yield every assignment of a finite space."""
        found: list[dict[str, str]] = [{}]
        for one in self.dimensions:
            texts = one.choices or one.whole_numbers()
            found = [
                {**values, one.key: text} if self.active(one, values) else values
                for values in found
                for text in (texts if self.active(one, values) else [""])
            ]
        yield from found

    def overrides(self, values: Assignment) -> tuple[str, ...]:
        """The words of a command that trains an assignment; [256,256] for two layers of 256."""
        given = dict(word.split("=", 1) for word in self.fixed)
        words = {**given, **values}
        if layers := words.pop(LAYERS, None):
            words["model.hidden"] = f"[{','.join([words['model.hidden']] * int(layers))}]"
        return tuple(f"{key}={value}" for key, value in words.items())


class _Reader:
    """Reads one override as a dimension."""

    def __init__(self, override: Override) -> None:
        self.key = override.get_key_element()
        self.text = str(override.input_line)
        self.override = override
        self.is_open = _is_open(override)
        value: Any = override.value()
        self.tags: set[str] = set(value.tags) if self.is_open else set()
        self.is_whole = isinstance(getattr(value, "start", None), int) or _is_whole(self.key)
        is_range = isinstance(value, IntervalSweep)
        self.ends: tuple[float, float] | None = (float(value.start), float(value.end)) if is_range else None

    def mistakes(self) -> Iterator[str]:
        if not self.is_open:
            if "interval(" in self.text:
                yield f"{self.text}: a range stands alone, not within a list"
            return
        if self.key in NOT_SEARCHED:
            yield f"{self.key}: not searched: {NOT_SEARCHED[self.key]}"
        for tag in sorted(self.tags - {*SCALES}):
            if "=" not in tag:
                yield f'{self.text}: a tag must be log, linear, or a condition "key=value", got {tag}'
        if len(self._conditions()) > 1 or self.tags >= {*SCALES}:
            yield f"{self.text}: one condition and one scale at most"
        if self.ends is not None:
            low, high = self.ends
            if not -math.inf < low < high < math.inf:
                yield f"{self.text}: must be from a lower to a higher number"
            elif "log" in self.tags and low <= 0:
                yield f"{self.text}: a log scale needs ends above 0"
        elif self.tags & {*SCALES}:
            yield f"{self.text}: a scale is for an interval"
        if self.key == LAYERS and not all(text.isdecimal() and int(text) for text in self._texts()):
            yield f"{LAYERS}: must be numbers of layers from 1, got {self.text.partition('=')[2]}"

    def dimension(self) -> Dimension:
        conditions = self._conditions()
        condition = Condition(*conditions[0].split("=", 1)) if conditions else None
        if self.ends is None:
            return Dimension(self.key, tuple(self._texts()), condition=condition)
        low, high = self.ends
        is_log = "linear" not in self.tags and ("log" in self.tags or (low > 0 and high / low >= LOG_FROM))
        return Dimension(self.key, (), low, high, self.is_whole, is_log, condition)

    def _conditions(self) -> list[str]:
        return sorted(tag for tag in self.tags if "=" in tag)

    def _texts(self) -> list[str]:
        if self.ends is not None:
            return []
        return list(dict.fromkeys(map(str, self.override.sweep_string_iterator())))


def _is_open(override: Override) -> bool:
    return isinstance(override.value(), ChoiceSweep | RangeSweep | IntervalSweep) or override.is_sweep_override()


def _is_whole(key: str) -> bool:
    """Tell whether the schema has whole numbers for a key; for a key that may be a list, of its elements."""
    field = fields(Config).get(key)
    words = str(field.annotation) if field is not None else ""
    return "int" in words and "float" not in words and "Rate" not in words


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
