"""Values of draws, as they are typed."""

from collections.abc import Iterable


def numbers(texts: Iterable[str]) -> list[float]:
    """Return the values as numbers; none if one of them is no number."""
    try:
        return [float(text) for text in texts]
    except ValueError:
        return []
