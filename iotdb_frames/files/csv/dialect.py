"""How a CSV file is written: a value object; what is not given is inferred (see `infer`)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from iotdb_frames.display.words import plural
from iotdb_frames.errors import OptionsError, did_you_mean
from iotdb_frames.options import check_choice

KNOWN_NULLS = (
    "",
    *("-", "--", "---", "?", ".", "*", "#N/A", "#N/A N/A", "#NA", "N/A", "n/a"),
    *("#VALUE!", "#DIV/0!", "#REF!", "#NUM!", "#NAME?", "#NULL!"),
    *("NA", "na", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "Null", "NIL", "nil", "Nil"),
    *("None", "none", "NONE", "<NA>", "MM", "missing", "Missing"),
)
"""Spellings of a missing value that are no number and no time; none of them hides a value there."""
TYPES = ("int64", "double", "float", "decimal", "bool", "string", "timestamp", "date32")


@dataclass(frozen=True, kw_only=True)
class CsvDialect:
    """How a CSV file is written; None, or empty: found out from a sample.

    Parameters
    ----------
    encoding : e.g. "utf-8", "cp1252", "utf-16"
    delimiter : between fields; " " stands for any run of spaces
    quote : around fields that hold a delimiter; "" for none
    decimal : "." or ","; None of a file without fractions: then 1.200 is neither 1.2 nor 1200
    thousands : between groups of digits; "" for none
    skip_lines : lines above the header, or above the data where there is no header
    header : whether there is a line with the names
    skip_after_header : lines between it and the data, e.g. one of units
    names : of the columns, in place of the header's
    null_values : texts that are a missing value
    nulls_in_texts : whether they are in columns of texts, too: where they are given; those that are
        found out are in the others only
    sentinels : ``{column: [number, …]}``: numbers that are a missing value there; ``{}``: none
    types : ``{column: kind}``, of "int64", "double", "float" (of 32 bits), "decimal" (of at most 9
        digits behind the mark), "bool", "string", "timestamp", "date32"
    time_columns : columns that together hold the time; it is called ``time`` where they are several
    time_format : "iso8601", or as of `strptime` (``%f`` may have any number of digits, ``%z`` is an
        offset)
    day_first : whether 01/02/2024 is the first of February
    fraction_digits : most digits of a second's fraction in the sample
    has_offset : whether times carry an offset from UTC
    newlines_in_values : whether a quoted field may hold line breaks
    """

    encoding: str | None = None
    delimiter: str | None = None
    quote: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    skip_lines: int | None = None
    header: bool | None = None
    skip_after_header: int | None = None
    names: tuple[str, ...] | None = None
    null_values: tuple[str, ...] | None = None
    nulls_in_texts: bool | None = None
    sentinels: Mapping[str, tuple[float, ...]] | None = None
    types: Mapping[str, str] | None = None
    time_columns: tuple[str, ...] | None = None
    time_format: str | None = None
    day_first: bool | None = None
    fraction_digits: int | None = None
    has_offset: bool | None = None
    newlines_in_values: bool | None = None

    def __post_init__(self) -> None:
        for name in ("names", "null_values", "time_columns"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise OptionsError(f"csv: {name}={value!r} must be a list", hint=f"[{value!r}]")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.sentinels is not None:
            numbers = {k: tuple(float(x) for x in v) for k, v in self.sentinels.items()}
            object.__setattr__(self, "sentinels", numbers)
        if self.encoding is not None:
            try:
                object.__setattr__(self, "encoding", codecs.lookup(self.encoding).name)
            except LookupError:
                raise OptionsError(f"csv: encoding={self.encoding!r} is not known") from None
        for name in ("delimiter", "quote", "decimal", "thousands"):
            value = getattr(self, name)
            is_optional = name in ("quote", "thousands")
            if value is not None and not (len(value) == 1 or (is_optional and value == "")):
                raise OptionsError(f"csv: {name}={value!r} must be one character")
        for name in ("decimal", "thousands"):
            if getattr(self, name) and getattr(self, name) == self.delimiter and self.quote == "":
                raise OptionsError(f"csv: {name} is the delimiter, too, and there are no quotes")
        if self.decimal is not None and self.decimal == self.thousands:
            raise OptionsError("csv: decimal is thousands, too")
        for column, kind in (self.types or {}).items():
            check_choice(f"csv: types[{column!r}]", kind, TYPES)

    @classmethod
    def of(cls, given: CsvDialect | Mapping[str, Any] | None) -> CsvDialect:
        """A dialect from itself or a mapping of its fields."""
        if isinstance(given, CsvDialect):
            return given
        known = {f.name for f in fields(cls)}
        for name in given or {}:
            if name not in known:
                raise OptionsError(
                    f"csv: unknown option {name!r}; there are {', '.join(sorted(known))}",
                    hint=did_you_mean(name, known),
                )
        return cls(**(given or {}))

    def given(self) -> dict[str, Any]:
        """The fields that are set, as JSON knows them."""
        return {k: v for k, v in json.loads(json.dumps(asdict(self))).items() if v is not None}

    def to_json(self) -> str:
        """All that is set, as text; `from_json` reads it."""
        return json.dumps(self.given(), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CsvDialect:
        """The dialect that `to_json` wrote."""
        return cls(**json.loads(text))

    def with_types(self, more: Mapping[str, str]) -> CsvDialect:
        """The same with some columns' types set, too."""
        return replace(self, types={**(self.types or {}), **more})

    @property
    def text_nulls(self) -> tuple[str, ...]:
        """Texts that are a missing value in a column of texts."""
        return () if self.nulls_in_texts is False else self.null_values or ()

    @property
    def n_top_lines(self) -> int:
        """Lines above the data."""
        return (self.skip_lines or 0) + bool(self.header) + (self.skip_after_header or 0)

    def facts(self) -> list[tuple[str, str]]:
        """What it says, for a person."""
        out = [
            ("encoding", str(self.encoding)),
            ("delimiter", "spaces" if self.delimiter == " " else repr(self.delimiter)),
            ("decimal", repr(self.decimal or ".")),
        ]
        if self.thousands:
            out.append(("thousands", repr(self.thousands)))
        if self.skip_lines or self.skip_after_header:
            out.append(
                (
                    "skipped",
                    f"{plural(self.skip_lines or 0, 'line')} above the header, "
                    f"{self.skip_after_header} below",
                )
            )
        line = (self.skip_lines or 0) + 1
        out.append(("header", f"line {line}" if self.header else "none"))
        when = "not found"
        if self.time_columns:
            when = f"{' + '.join(self.time_columns)} as {self.time_format or 'numbers'}"
        out.append(("time", when))
        zone = "of the connection, for the file says none"
        if not self.time_format:
            zone = "UTC"
        out.append(("zone", "offsets in the file" if self.has_offset else zone))
        nulls = [t for t in self.null_values or () if t]
        if nulls:
            out.append(("missing", " ".join(nulls)))
        by_value: dict[tuple[float, ...], list[str]] = {}
        for column, values in (self.sentinels or {}).items():
            by_value.setdefault(tuple(values), []).append(column)
        for values, columns in by_value.items():
            shown = " ".join(f"{v:g}" for v in values)
            out.append(("sentinel", f"{shown} is missing in {', '.join(columns)}"))
        return out

    def surprises(self) -> list[str]:
        """What was inferred and changes values: the user should see it without asking."""
        told = dict(self.facts())
        return [
            f"{name}: {told[name]}" for name in ("skipped", "missing", "sentinel") if name in told
        ]
