"""How a CSV file is written, found out from a sample: its head, and places further on.

Nothing is guessed where two readings are possible and differ: the first of February or the second
of January is asked for. What is found is shown in the plan, and every part of it can be given.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from iotdb_frames.errors import FrameError
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.infer_types import infer_columns
from iotdb_frames.files.csv.records import ByteStream, is_wide
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import SourceFile

HEAD_BYTES = 1 << 18
SPOT_BYTES = 1 << 16
N_SPOTS = 4
LINES = 150
_DELIMITERS = (",", ";", "\t", "|", " ")
_NUMBER = r"[+-]?(?:\d{1,3}(?:[., ']\d{3})+|\d+)?(?:[.,]\d*)?(?:[eE][+-]?\d+)?%?"
_TIME = r"[\dTZ:./+-]+(?: [\d:.+Z-]+(?: ?[AaPp]\.?[Mm]\.?)?)?"
_NULL = "|".join(re.escape(n) for n in KNOWN_NULLS if n)
_CLEAN = re.compile(rf"\s*(?:{_NUMBER}|{_TIME}|{_NULL}|[A-Za-z_#µ°][^,;\t|]*)?\s*")
_MOMENT = re.compile(r"\s*(?:\d(?:\D*\d){3}|[A-Za-z]{3,9}\.? \d{1,2},? \d{4})")
_FACT = re.compile(rf"\s*(?:{_NUMBER}|{_TIME}|{_NULL})\s*")


def infer_dialect(file: SourceFile, options: FileOptions) -> CsvDialect:
    """The whole dialect of a file: what is given, and for the rest what a sample shows.

    Raises
    ------
    FrameError : the file is empty, or what it says can be read in two ways.
    """
    given = options.csv
    try:
        encoding, head, spots = _sample(file, given.encoding)
    except (OSError, EOFError) as exc:
        raise FrameError(f"{file.name} cannot be read: {exc}") from exc
    if "\n" not in head and "\r" in head:
        raise FrameError(
            f"{file.name}: its lines end in carriage returns alone",
            hint="tr '\\r' '\\n' < old.csv > new.csv",
        )
    all_lines = lines_of(head)
    lines = [line for line in all_lines if line.strip()][:LINES]
    if not lines:
        raise FrameError(f"{file.name} is empty")
    delimiter = given.delimiter or _delimiter(lines, given.quote)
    quote = '"' if given.quote is None else given.quote
    rows = split(lines, delimiter, quote)
    skip, width = _top(rows)
    if given.skip_lines is not None:
        skip = given.skip_lines
    if given.skip_lines is None:  # counted without the blank lines above; these count, too
        skip = _with_blank(all_lines, skip)
    body = split([line for line in all_lines[skip:] if line.strip()][:LINES], delimiter, quote)
    has_header, n_below = _header(body, given)
    names = given.names or _names(body[0] if has_header else [""] * width, has_header)
    dialect = replace(
        given,
        encoding=encoding,
        delimiter=delimiter,
        quote=quote,
        skip_lines=skip,
        header=has_header,
        skip_after_header=n_below,
        names=names,
        newlines_in_values=_has_newlines(head, quote)
        if given.newlines_in_values is None
        else given.newlines_in_values,
    )
    data = body[int(has_header) + n_below :]
    decimal, thousands = _decimal([cell for row in data for cell in row], delimiter)
    dialect = replace(
        dialect,
        decimal=given.decimal or decimal,
        thousands=thousands if given.thousands is None else given.thousands,
    )
    texts = _records_of(all_lines[dialect.n_top_lines :])
    return infer_columns(file.name, dialect, [texts, *spots], options)


def lines_of(text: str) -> list[str]:
    """Its lines as a reader of CSV counts them; `splitlines` knows other ends than line feeds."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


def split(lines: Sequence[str], delimiter: str, quote: str) -> list[list[str]]:
    """Lines of a sample as fields."""
    if delimiter == " ":
        return [re.split(" +", line.strip(" ")) for line in lines]
    if not quote:
        return [line.split(delimiter) for line in lines]
    try:
        return list(csv.reader(lines, delimiter=delimiter, quotechar=quote))
    except csv.Error:  # a field larger than it takes
        return [line.split(delimiter) for line in lines]


def _sample(file: SourceFile, encoding: str | None) -> tuple[str, str, list[str]]:
    """Encoding, the head's text in whole lines, and whole lines from places further on."""
    stream = ByteStream(file, encoding or "utf-8")
    try:
        raw = stream.read(HEAD_BYTES)
    finally:
        stream.close()
    found = encoding or _encoding(raw)
    if is_wide(found):
        stream = ByteStream(file, found)
        try:
            text = stream.read(HEAD_BYTES).decode("utf-8", "replace")
            return found, _whole(text.removeprefix("\ufeff")), []
        finally:
            stream.close()
    if raw.startswith(codecs.BOM_UTF8):
        raw = raw[3:]
    head = raw.decode(found, "replace")
    is_all = len(raw) + 3 < HEAD_BYTES
    return found, head if is_all else _whole(head), [] if is_all else _spots(file, found)


def _spots(file: SourceFile, encoding: str) -> list[str]:
    if file.compression is not None:
        return []
    out = []
    with file.filesystem.open_input_file(file.path) as source:
        for i in range(1, N_SPOTS + 1):
            source.seek(max(0, file.size * i // N_SPOTS - SPOT_BYTES))
            text = bytes(source.read(SPOT_BYTES)).decode(encoding, "replace")
            out.append(_whole(text.partition("\n")[2]))
    return out


def _whole(text: str) -> str:
    """Text up to the end of its last line."""
    return text[: text.rfind("\n") + 1] or text


def _encoding(raw: bytes) -> str:
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if raw.startswith(mark):
            return name
    zeros = [raw[i::2].count(0) * 2 / max(1, len(raw)) for i in (0, 1)]
    if max(zeros) > 0.3:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    text = raw[:-4].decode("utf-8", "replace")
    # One bad byte in a file of good ones is dirt, and no other encoding.
    n_bad, n_other = text.count("\N{REPLACEMENT CHARACTER}"), len(re.findall(r"[^\0-\x7f]", text))
    if n_bad * 2 <= n_other - n_bad or not n_bad:
        return "utf-8"
    # cp1252 is Latin-1 with letters where that has control codes.
    bad = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    return "iso8859-1" if bad & set(raw) else "cp1252"


def _delimiter(lines: Sequence[str], quote: str | None) -> str:
    """The one that gives most lines the same number of fields, and fields that look like some."""
    best, best_score = ",", 0.0
    for delimiter in _DELIMITERS:
        rows = split(lines, delimiter, '"' if quote is None else quote)
        width, n_same = Counter(map(len, rows)).most_common(1)[0]
        if width < 2:
            continue
        cells = [cell for row in rows if len(row) == width for cell in row]
        clean = sum(_CLEAN.fullmatch(cell) is not None for cell in cells) / len(cells)
        facts = sum(_FACT.fullmatch(cell) is not None for cell in cells) / len(cells)
        score = n_same / len(rows) * clean**2 * (0.5 + facts)
        if delimiter == " ":
            score *= 0.9  # a date and its time are split by a space, too
        if score > best_score * 1.02:
            best, best_score = delimiter, score
    return best


def _top(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Lines above the first that has as many fields as most, and how many these are."""
    width = Counter(map(len, rows)).most_common(1)[0][0]
    return next(i for i, row in enumerate(rows) if len(row) == width), width


def _with_blank(lines: Sequence[str], n_full: int) -> int:
    """Lines above the line with number `n_full` among those that are not blank."""
    seen = 0
    for i, line in enumerate(lines):
        if line.strip():
            if seen == n_full:
                return i
            seen += 1
    return 0


def _is_fact(cell: str) -> bool:
    return bool(cell.strip()) and (
        _FACT.fullmatch(cell) is not None or _MOMENT.match(cell) is not None
    )


def _header(body: Sequence[Sequence[str]], given: CsvDialect) -> tuple[bool, int]:
    """Whether there is a header, and lines (of units) between it and the data."""
    first = body[0]
    words = [cell for cell in first if cell.strip() and not _is_fact(cell)]
    has_header = len(words) * 2 > sum(bool(c.strip()) for c in first)
    if given.header is not None:
        has_header = given.header
    if given.skip_after_header is not None or not has_header:
        return has_header, given.skip_after_header or 0
    n = 0
    for row, after in pairwise(body[1:5]):
        # A line of units has no number or time where the next one has them.
        if any(_is_fact(c) for c in row) or not any(_is_fact(c) for c in after):
            break
        n += 1
    return has_header, n


def _names(first: Sequence[str], has_header: bool) -> tuple[str, ...]:
    if not has_header:
        return tuple(f"column_{i + 1}" for i in range(len(first)))
    names = [cell.strip() for cell in first]
    names[0] = names[0].lstrip("# ")
    return tuple(names)


def _has_newlines(text: str, quote: str) -> bool:
    """Whether a quoted field holds a line break: fields then close in a later line."""
    if not quote or quote not in text:
        return False
    q = re.escape(quote)
    pattern = (
        rf"(?:^|[,;\t|\n]){q}(?:[^{q}\n]|{q}{q})*\n(?:[^{q}]|{q}{q}){{0,2000}}{q}(?:[,;\t|\r\n]|$)"
    )
    has_odd = any(line.count(quote) % 2 for line in lines_of(text))
    return has_odd and re.search(pattern, text) is not None


def _decimal(cells: Sequence[str], delimiter: str) -> tuple[str, str]:
    """Decimal mark, and what stands between groups of digits."""
    found = Counter(
        match[1]
        for cell in cells
        if (match := re.fullmatch(r"\s*[+-]?\d*([.,])\d+(?:[eE][+-]?\d+)?\s*", cell))
    )
    both = Counter(
        (match[1], match[2])
        for cell in cells
        if (match := re.fullmatch(r"\s*[+-]?\d{1,3}(?:([.,' ])\d{3})+([.,])\d*\s*", cell))
        and match[1] != match[2]
    )
    if both:
        thousands, decimal = both.most_common(1)[0][0]
        return decimal, thousands
    is_comma = delimiter != "," and found[","] > found["."]
    return "," if is_comma else ".", ""


def _records_of(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
