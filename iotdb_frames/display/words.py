"""Numbers in words: counts, plurals, sizes, rates and durations, the same everywhere."""

from __future__ import annotations

from typing import Any

MAX_TEXT = 120


def shorten(value: Any, limit: int = MAX_TEXT) -> str:
    """`value` as one line of at most `limit` characters."""
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: float) -> str:
    """A count with separated thousands: 1234567 is ``1,234,567``."""
    return f"{number:,.0f}"


def plural(number: float, one: str, many: str | None = None) -> str:
    """A count and its noun: ``1 chunk``, ``12 chunks``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def repeated(n_rows: int, key: str = "(device, time)") -> str:
    """Rows whose key others have, too: ``2 rows repeat a (device, time)``."""
    return f"{plural(n_rows, 'row')} {'repeats' if n_rows == 1 else 'repeat'} a {key}"


def size(n_bytes: float) -> str:
    """Bytes in binary units, e.g. ``3.8 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n_bytes < 1023.95:  # what would be rounded to 1024.0 is 1.0 of the next
            return f"{n_bytes:.0f} B" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} TiB"


def rate(per_s: float, what: str) -> str:
    """A rate, e.g. ``21.3 M points/s``."""
    for limit, unit in ((1e6, "M "), (1e3, "k ")):
        if per_s >= limit:
            return f"{per_s / limit:.1f} {unit}{what}/s"
    return f"{per_s:.0f} {what}/s" if per_s >= 10 or not per_s else f"{per_s:.2g} {what}/s"


def duration(seconds: float) -> str:
    """A duration, e.g. ``3.1 ms``, ``0.42 s``, ``10 min``, ``3 min 05 s`` or ``45 d 13 h``."""
    if not seconds:
        return "0 s"
    if seconds < 0.1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        days, hours = divmod(hours, 24)
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes:02d} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
