"""What a person probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches


def closest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` is nearest to, in upper or lower case, if any is near."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean WORD?', or nothing."""
    close = closest(word, known)
    return f"; did you mean {close}?" if close else ""
