"""The space of a search: keys with several values or a range, in Hydra's sweep grammar.

optimizer=adam,sgd                                        choices
model.hidden=range(32,513,step=32)                        choices in an order
optimizer.lr=interval(1e-4,1e-1)                          a range; on a log scale from a factor of 100 on
data.batch_size=int(interval(16,512))                     integers; implied if the schema requires integers
model.dropout=tag(linear,interval(0.001,0.5))             an explicit scale: log or linear
optimizer.momentum=tag("optimizer=sgd",interval(0.8,0.99))    drawn where the condition holds
model.layers=1,2,3                                        depth: each layer as wide as model.hidden
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from hydra.core.override_parser.types import IntervalSweep, Override

from mlplab.config.fields import fields
from mlplab.config.schema import Config
from mlplab.search.values import numbers

LAYERS = "model.layers"  # a key that exists only in spaces
LARGEST_COUNTED = 100_000  # assignments
LOG_FROM = 100  # ratio of the ends from which a range is on a log scale by default
DIGITS = 3  # significant digits of a drawn value, so that the printed value is the one used
SCALES = ("log", "linear")
NOT_SEARCHED = {
    "seed": "the best seed would be chosen by chance",
    "data.split_seed": "draws must be compared on the same images",
    "data.val_size": "draws must be compared on the same images",
    "data.test_size": "draws must be compared on the same images",
    "data": "draws must be compared on one data set; use one command for each",
    "data.name": "draws must be compared on one data set; use one command for each",
    "data.root": "draws must be compared on one data set; use one command for each",
    "data.split": "draws must be compared on one data set; use one command for each",
    "trainer.max_epochs": "draws must be compared after the same number of epochs",
    "trainer.max_steps": "draws must be compared after the same number of epochs",
    "monitor": "draws must be compared by the same metric",
    "experiment": "it sets many keys at once; choose one, or search the keys that differ",
}

Assignment = Mapping[str, str]  # values as typed, by key; without keys whose condition does not hold


@dataclass(frozen=True)
class Condition:
    key: str
    value: str

    def holds(self, values: Assignment) -> bool:
        return self.is_met_by(values.get(self.key))

    def is_met_by(self, text: str | None) -> bool:
        """Compare the value with another, which may be spelled differently: true and True, 0.1 and 1e-1."""
        if text is None:
            return False
        return text.lower() == self.value.lower() or len(set(numbers([text, self.value]))) == 1

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclass(frozen=True)
class Dimension:
    """A key to search: `choices`, or all numbers from `low` to `high`."""

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
        """True for a range, and for choices in rising order."""
        found = numbers(self.choices)
        return len(found) == len(self.choices) and all(a < b for a, b in itertools.pairwise(found))

    @property
    def is_drawn_on_log(self) -> bool:
        """True if a chart has a log scale: for a range that has one, and for choices that are as far apart."""
        found = numbers(self.choices)
        return self.is_log or (bool(found) and 0 < LOG_FROM * min(found) <= max(found))

    @property
    def size(self) -> float:
        """The number of values, or a bound of it; infinite for a range of floats."""
        if self.choices:
            return len(self.choices)
        return self.high - self.low + 1 if self.is_whole else math.inf

    def values(self) -> Sequence[str]:
        """The choices, or all integers of a range of them, without those that rounding makes equal."""
        return self.choices or list(dict.fromkeys(map(self.text, range(int(self.low), int(self.high) + 1))))

    def text(self, number: float) -> str:
        """Format a number of the range as it is typed: rounded, and never out of range."""
        if self.is_whole:
            rounded = float(f"{number:.{DIGITS}g}") if abs(number) >= 1 else 0.0
            return str(int(min(max(rounded, self.low), self.high)))
        return f"{min(max(float(f'{number:.{DIGITS}g}'), self.low), self.high):.12g}"

    def at(self, share: float) -> str:
        """Return the value at a fraction of the dimension, from 0 to below 1, uniform on its scale."""
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
        """The values that must be valid in the schema."""
        return list(self.choices) or [self.text(self.low), self.text(self.high)]

    def __str__(self) -> str:
        scale = f" on a {'log' if self.is_log else 'linear'} scale" if self.is_range else ""
        whole = "whole numbers " if self.is_whole and self.is_range else ""
        values = ", ".join(self.choices) if self.choices else f"{whole}{self.low:g} to {self.high:g}{scale}"
        return f"{self.key}: {values}{f', where {self.condition}' if self.condition else ''}"


@dataclass(frozen=True)
class Space:
    dimensions: tuple[Dimension, ...]  # one after those that its condition names
    fixed: Mapping[str, str]  # of every draw

    @classmethod
    def of(cls, overrides: Sequence[Override]) -> tuple[Self, list[str]]:
        """Read the space of a command; also return a line for each mistake."""
        last = {override.get_key_element().lstrip("+"): override for override in overrides}
        read = [_Reader(override) for override in last.values()]
        mistakes = [mistake for reader in read for mistake in reader.mistakes()]
        good = [reader for reader in read if not any(reader.mistakes())]
        found = [reader.dimension() for reader in good if reader.is_open]
        fixed = {one.key: one.override.get_value_element_as_str() for one in good if not one.is_open}
        space = cls(tuple(sorted(found, key=lambda one: one.condition is not None)), fixed)
        return space, [*mistakes, *space._mistakes()]

    def _mistakes(self) -> Iterator[str]:
        by_key = {one.key: one for one in self.dimensions}
        values = self.fixed
        for one in self.dimensions:
            if one.condition is not None:
                other = by_key.get(one.condition.key)
                if other is not None and other.condition is not None:
                    yield f"{one.key}: its condition depends on {other.key}, which has a condition itself"
                possible = other.choices if other else [values.get(one.condition.key)]
                if possible == [None]:
                    yield f"{one.key}: has the condition {one.condition}; give {one.condition.key} in the command, too"
                elif not any(map(one.condition.is_met_by, possible)):
                    yield f"{one.key}: the condition {one.condition} never holds in this space"
        if LAYERS in values and not (values[LAYERS].isdecimal() and int(values[LAYERS])):
            yield f"{LAYERS}: must be the number of layers, from 1, got {values[LAYERS]}"
        if LAYERS in by_key and "model.hidden" not in {*by_key, *values}:
            yield f"{LAYERS}: needs model.hidden, the width of each layer"

    @property
    def size(self) -> float:
        """The number of assignments, or a bound of it above LARGEST_COUNTED; infinite if there are ranges of floats."""
        bound = math.prod(one.size for one in self.dimensions)
        return sum(1 for _ in self.all()) if bound <= LARGEST_COUNTED else bound

    def active(self, dimension: Dimension, values: Assignment) -> bool:
        """Tell whether a dimension is drawn, given these values."""
        return dimension.condition is None or dimension.condition.holds({**self.fixed, **values})

    def all(self) -> Iterator[dict[str, str]]:
        """Yield every assignment of a finite space."""
        found: Iterable[dict[str, str]] = [{}]
        for one in self.dimensions:
            found = self._extended(found, one)
        yield from found

    def _extended(self, found: Iterable[dict[str, str]], one: Dimension) -> Iterator[dict[str, str]]:
        for values in found:
            texts = one.values() if self.active(one, values) else ()
            yield from ({**values, one.key: text} for text in texts) if texts else [values]

    def overrides(self, values: Assignment) -> tuple[str, ...]:
        """Return the overrides that train an assignment; [256,256] for two layers of 256."""
        words = {**self.fixed, **values}
        layers = words.pop(LAYERS, None)
        if layers and "model.hidden" in words:
            words["model.hidden"] = f"[{','.join([words['model.hidden']] * int(layers))}]"
        return tuple(f"{key}={value}" for key, value in words.items())


class _Reader:
    """Reads one override as a dimension."""

    def __init__(self, override: Override) -> None:
        self.key = override.get_key_element().lstrip("+")  # groups are open, so that a + changes nothing
        self.text = str(override.input_line)
        self.override = override
        self.is_open = override.is_sweep_override()
        value: Any = override.value()
        self.tags: set[str] = set(getattr(value, "tags", ()))
        self.is_whole = isinstance(getattr(value, "start", None), int) or self.key == LAYERS or _is_whole(self.key)
        is_range = isinstance(value, IntervalSweep)
        self.ends: tuple[float, float] | None = (float(value.start), float(value.end)) if is_range else None

    def mistakes(self) -> Iterator[str]:
        if not self.is_open:
            if "interval(" in self.text:
                yield f"{self.text}: a range cannot be part of a list"
            return
        if self.key in NOT_SEARCHED:
            yield f"{self.key}: cannot be searched: {NOT_SEARCHED[self.key]}"
        for tag in sorted(self.tags - {*SCALES}):
            if "=" not in tag:
                yield f'{self.text}: a tag must be log, linear or a condition "key=value", got {tag}'
        if self.text.count("tag(") > 1:
            yield f'{self.text}: a tag cannot be within another; write tag(log, "key=value", interval(...))'
        if len(self._conditions()) > 1 or self.tags >= {*SCALES}:
            yield f"{self.text}: at most one condition and one scale are allowed"
        if self.ends is not None:
            low, high = self.ends
            if not -math.inf < low < high < math.inf:
                yield f"{self.text}: must go from a lower to a higher number"
            elif "log" in self.tags and low <= 0:
                yield f"{self.text}: a log scale needs positive ends"
        elif self.tags & {*SCALES}:
            yield f"{self.text}: only an interval can have a scale"
        texts = [f"{end:g}" for end in self.ends] if self.ends else self._texts()
        if self.key == LAYERS and not all(text.isdecimal() and int(text) for text in texts):
            yield f"{LAYERS}: must be numbers of layers, at least 1, got {self.text.partition('=')[2]}"

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


def _is_whole(key: str) -> bool:
    """Tell whether the schema requires integers for a key; for a key that may be a list, for its elements."""
    field = fields(Config).get(key)
    words = str(field.annotation) if field is not None else ""
    return "int" in words and "float" not in words and "Rate" not in words
