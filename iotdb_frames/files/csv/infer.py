"""How a CSV file is written, found out from a sample: its head, and places further on.

Nothing is guessed where two readings are possible and differ: the first of February or the second
of January is asked for. What is found is shown in the plan, and every part of it can be given.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import islice

from iotdb_frames.errors import Choice, FrameError, Hint
from iotdb_frames.files.csv.cells import trim
from iotdb_frames.files.csv.dialect import KNOWN_NULLS, CsvDialect
from iotdb_frames.files.csv.forms import Forms
from iotdb_frames.files.csv.infer_lines import (
    CLEAN,
    FACT,
    LINES,
    find_lines,
    is_blank,
    said_delimiter,
    split,
)
from iotdb_frames.files.csv.infer_times import (
    day_or_month,
    exchanged,
    joined_times,
    two_orders,
)
from iotdb_frames.files.csv.infer_types import as_texts, infer_columns
from iotdb_frames.files.csv.records import ByteStream, is_wide
from iotdb_frames.files.csv.times import parse_times
from iotdb_frames.files.options import FileOptions
from iotdb_frames.files.sources import EmptyFile, SourceFile

HEAD_BYTES = 1 << 18
SPOT_BYTES = 1 << 16
N_SPOTS = 4
_DELIMITERS = (",", ";", "\t", "|", " ")

_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "compressed by gzip", "its name has to end in .gz, as in data.csv.gz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "its name has to end in .zst, as in data.csv.zst"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "its name has to end in .lz4, as in data.csv.lz4"),
    (b"BZh91AY&SY", "compressed by bzip2", "its name has to end in .bz2, as in data.csv.bz2"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "unpack it, or save it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "save it as CSV"),
    (b"PAR1", "a Parquet file", Hint(Choice(format="parquet"))),
    (b"ARROW1", "an Arrow file", Hint(Choice(format="ipc"))),
)
"""What other files begin with, what they are, and what to do about it."""


def infer_dialect(
    file: SourceFile, options: FileOptions, *, forms: Forms | None = None
) -> CsvDialect:
    """The whole dialect of a file: what is given, and for the rest what a sample shows.

    Parameters
    ----------
    forms : of files that came before: one that the sample confirms is taken, and a new one kept

    Raises
    ------
    EmptyFile : there is nothing in it.
    FrameError : what it says can be read in two ways.
    """
    try:
        encoding, head, spots = _sample(file, options.csv.encoding)
    except (OSError, EOFError) as exc:
        raise FrameError(f"{file.name} cannot be read: {exc}") from exc
    lines = lines_of(head)
    if forms is None:
        return _infer(file, options, encoding, head, spots)
    dialect = forms.confirmed(encoding, lines, spots, options)
    if dialect is None:
        dialect = _infer(file, options, encoding, head, spots)
        forms.keep(dialect, lines)
    return dialect


def check_order(
    file: SourceFile, options: FileOptions, dialect: CsvDialect, *, other_file: str
) -> None:
    """Refuse dates with dots that may have the month first, as those of another file have it.

    Raises
    ------
    FrameError : the sample's dates have two readings.
    """
    form, columns = dialect.time_format or "", dialect.time_columns or ()
    given, other = options.csv, exchanged(form)
    is_said = given.day_first is not None or given.time_format is not None
    if is_said or other is None or day_or_month(form) != ("d", "."):
        return
    _, head, spots = _sample(file, dialect.encoding)
    text = "\n".join(lines_of(head)[dialect.n_top_lines :]) + "\n"
    found = {n: trim(c, KNOWN_NULLS) for n, c in as_texts(dialect, [text, *spots]).items()}
    texts = joined_times(columns, found)
    if len(texts) and not parse_times(texts, other).is_bad.any():
        raise two_orders(
            file.name, columns, texts, why=f": {other_file} has the month before a dot"
        )


def _infer(
    file: SourceFile, options: FileOptions, encoding: str, head: str, spots: list[str]
) -> CsvDialect:
    given = options.csv
    if "\n" not in head and "\r" in head:
        raise FrameError(
            f"{file.name}: its lines end in carriage returns alone",
            # tr would do it to bytes, and half a character of UTF-16 may look like one.
            hint=f"python -c \"open('new.csv', 'w', encoding='{encoding}').writelines("
            f"open('old.csv', encoding='{encoding}'))\"",
        )
    lines = lines_of(head)
    said = None if given.delimiter or given.skip_lines is not None else said_delimiter(lines)
    if said is not None:
        lines[said[0]] = ""
    if all(map(is_blank, lines)):
        raise EmptyFile(file.name)
    quote = '"' if given.quote is None else given.quote
    known = {options.time, *options.keys, *(given.time_columns or ())}
    wanted = set() if given.names else {str(label) for label in known if label is not None}
    delimiter = given.delimiter or (said[1] if said else _delimiter(lines, quote, wanted))
    dialect = replace(given, encoding=encoding, delimiter=delimiter, quote=quote)
    found = find_lines(file.name, lines, dialect, wanted)
    dialect = replace(
        dialect,
        skip_lines=found.skip_lines,
        header=found.header,
        skip_after_header=found.skip_after_header,
        names=found.names,
        newlines_in_values=_has_newlines(head, quote)
        if given.newlines_in_values is None
        else given.newlines_in_values,
    )
    text = "\n".join(lines[dialect.n_top_lines :]) + "\n"
    return infer_columns(file.name, dialect, [text, *spots], options)


def lines_of(text: str) -> list[str]:
    """Its lines as a reader of CSV counts them; `splitlines` knows other ends than line feeds."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines if lines[-1] else lines[:-1]


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
    for start, what, hint in _OTHERS:
        if raw.startswith(start):
            raise FrameError(f"{file.name} is not text, but {what}", hint=hint)
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
    if raw.isascii() and b"\0" not in raw:
        return "utf-8"
    zeros = [raw[i::2].count(0) * 2 / max(1, len(raw)) for i in (0, 1)]
    if max(zeros) > 0.3 > 4 * min(zeros):  # in both halves they are what a loss of power leaves
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    # What is cut off at the end is no dirt.
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(raw)
    # One bad byte in a file of good ones is dirt, and no other encoding.
    n_bad, n_other = text.count("\N{REPLACEMENT CHARACTER}"), len(re.findall(r"[^\0-\x7f]", text))
    if n_bad * 2 <= n_other - n_bad or not n_bad:
        return "utf-8"
    # cp1252 is Latin-1 with letters where that has control codes.
    bad = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    return "iso8859-1" if bad & set(raw) else "cp1252"


def _delimiter(lines: Sequence[str], quote: str, wanted: AbstractSet[str]) -> str:
    """The one that gives most lines the same number of fields, and fields that look like some."""
    best, best_score, is_in_all = ",", 0.0, False
    full = list(islice((line for line in lines if not is_blank(line)), LINES))
    text = "\n".join(full)
    for delimiter in _DELIMITERS:
        if delimiter not in text:
            continue
        rows = split(full, delimiter, quote)
        # What is above the header may be written in another way.
        named = (i for i, row in enumerate(rows) if wanted & {cell.strip() for cell in row})
        rows = rows[next(named, 0) :]
        width, n_same = Counter(map(len, rows)).most_common(1)[0]
        if width < 2:
            continue
        cells = [cell for row in rows if len(row) == width for cell in row]
        clean = sum(CLEAN.fullmatch(cell) is not None for cell in cells) / len(cells)
        facts = sum(FACT.fullmatch(cell) is not None for cell in cells) / len(cells)
        score = n_same / len(rows) * clean**2 * (0.5 + facts)
        has_all = n_same == len(rows)
        if delimiter == " ":  # a date, its time and its zone are split by a space, too
            score *= 0.9 if has_all or not is_in_all else 0
        if score > best_score * 1.02:
            best, best_score, is_in_all = delimiter, score, has_all
    return best


def _has_newlines(text: str, quote: str) -> bool:
    """Whether a quoted field holds a line break: fields then close in a later line."""
    if not quote or quote not in text:
        return False
    # In many files only the header has quotes.
    text = text[text.rfind("\n", 0, text.find(quote)) + 1 :]
    text = text[: text.find("\n", text.rfind(quote)) + 1] or text
    q = re.escape(quote)
    pattern = (
        rf"(?:^|[,;\t|\n]){q}(?:[^{q}\n]|{q}{q})*\n(?:[^{q}]|{q}{q}){{0,2000}}{q}(?:[,;\t|\r\n]|$)"
    )
    has_odd = any(line.count(quote) % 2 for line in lines_of(text))
    return has_odd and re.search(pattern, text) is not None
