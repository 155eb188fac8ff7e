"""What there is to read: files behind paths, folders, globs and URLs, and who they are."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from iotdb_frames.errors import Choice, FrameError, Hint, OptionsError
from iotdb_frames.options import check_choice

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
    ".arrows": "stream",
    ".orc": "orc",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
_EDGE_BYTES = 1 << 16
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


class EmptyFile(FrameError):
    """A file without anything in it: where there are others, no reason to stop."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is empty")


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    root : the source it was found by, as an absolute path or URL
    name : its path below the root, with slashes
    filesystem, path : how to open it
    size : bytes as stored
    modified_ns : time of the last change, 0 where the file system keeps none
    format : "parquet", "csv", "ipc", "stream", "orc", "json"
    compression : of the whole file, or None
    partitions : columns that its path gives (hive: ``site=A/…``)
    """

    root: str
    name: str
    filesystem: Any = field(repr=False)
    path: str
    size: int
    modified_ns: int
    format: str
    compression: str | None = None
    partitions: tuple[tuple[str, str | None], ...] = ()

    @property
    def stem(self) -> str:
        """Its name without folder, format and compression."""
        name = self.name.rpartition("/")[2]
        for known in (COMPRESSIONS, FORMATS):
            head, dot, tail = name.rpartition(".")
            if dot + tail.lower() in known:
                name = head
        return name

    def fingerprint(self) -> str:
        """A digest of its first and last 64 KiB.

        Together with size and time of change it tells whether this is the file that it was.
        """
        digest = hashlib.blake2b(digest_size=16)
        with self.filesystem.open_input_file(self.path) as file:
            digest.update(file.read(_EDGE_BYTES))
            if self.size > _EDGE_BYTES:
                file.seek(max(_EDGE_BYTES, self.size - _EDGE_BYTES))
                digest.update(file.read(_EDGE_BYTES))
        return digest.hexdigest()

    def look_again(self) -> SourceFile:
        """The same file as it is now.

        Raises
        ------
        FrameError : it is gone.
        """
        info = self.filesystem.get_file_info(self.path)
        if info.type != pafs.FileType.File:
            raise FrameError(f"{self.name} is gone", hint=f"it was found in {self.root}")
        return replace(self, size=info.size, modified_ns=info.mtime_ns or 0)


def find_files(sources: Any, *, format: str | None = None) -> tuple[list[SourceFile], list[str]]:  # noqa: A002
    """The files behind sources, each once, in order, and notes on what was left out.

    Parameters
    ----------
    sources : path, folder, glob or URL, or several; or a pyarrow Dataset of files
    format : of all files; None: by their endings

    Raises
    ------
    OptionsError : nothing is there, or its format is not known.
    """
    check_choice("format", format, sorted(set(FORMATS.values())), is_optional=True)
    found: dict[str, SourceFile] = {}
    notes: list[str] = []
    for source in source_list(sources):
        files = list(_files_of(source, format, notes))
        if not files:
            shown = _shown(source)
            if re.search(r"(?i)\.(?:zip|7z|rar|tar(?:\.\w+)?|tgz|xlsx?|ods)$", shown):
                raise OptionsError(
                    f"{shown!r} is an archive or a workbook",
                    hint="unpack it, or save its sheets as CSV",
                )
            raise OptionsError(
                f"{shown!r} has no file to read",
                hint=Hint(
                    f"endings that are known: {' '.join(FORMATS)}, and {' '.join(COMPRESSIONS)}; "
                    "others need ",
                    Choice(format=...),
                ),
            )
        for file in files:
            found.setdefault(file.path, file)
    return list(found.values()), notes


def source_list(sources: Any) -> list[Any]:
    """Sources as a list of texts and datasets; local paths are made absolute."""
    many = (
        list(sources)
        if isinstance(sources, Sequence) and not isinstance(sources, str)
        else [sources]
    )
    return [_absolute(s) if isinstance(s, str | os.PathLike) else s for s in many]


def is_files(sources: Any) -> bool:
    """Whether these are files, and not frames.

    Raises
    ------
    OptionsError : an empty list is neither.
    """
    one = source_list(sources)[:1]
    if not one:
        raise OptionsError("sources is an empty list", hint="a path, folder, glob or URL")
    return isinstance(one[0], str) or _is_of_files(one[0])


def _is_of_files(source: Any) -> bool:
    """Whether a pyarrow Dataset is what its files are, and no filter, partition or other schema."""
    if not hasattr(source, "files") or getattr(source, "_scan_options", True):
        return False
    try:
        first = next(iter(source.get_fragments()), None)
        return first is not None and bool(first.physical_schema.equals(source.schema))
    except (OSError, pa.ArrowException):
        return True  # who reads it names it


def _shown(source: Any) -> str:
    return source if isinstance(source, str) else type(source).__name__


def _absolute(source: str | os.PathLike[str]) -> str:
    text = os.fspath(source)
    if not text:
        raise OptionsError("a source is an empty text", hint="a path, folder, glob or URL")
    _openable(text)
    return text if _is_url(text) else os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - "*" and "**" must stay


def _is_url(text: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]+://", text) is not None


def _files_of(source: Any, format: str | None, notes: list[str]) -> Iterable[SourceFile]:  # noqa: A002
    if not isinstance(source, str):
        if not _is_of_files(source):
            raise OptionsError(
                f"a {type(source).__name__} is not among files",
                hint="one with a filter, partitions or a schema of its own goes alone, as frames",
            )
        root = os.path.commonpath(source.files) if len(source.files) > 1 else ""
        kind = format or source.format.default_extname
        for path in source.files:
            info = source.filesystem.get_file_info(path)
            for file in _known([info], root, root, source.filesystem, kind, notes):
                yield replace(file, partitions=())
        return
    filesystem, path = _open_filesystem(source)
    info = filesystem.get_file_info(path)
    if info.type == pafs.FileType.File:
        folder = path.rpartition("/")[0]
        root = source.rpartition("/")[0]
        if format is None and _kind(path)[0] is None:
            return
        yield from _known([info], root, folder, filesystem, format, notes)
        return
    if info.type == pafs.FileType.Directory:
        listed = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
        yield from _known(listed, source, path, filesystem, format, notes)
        return
    if not glob.has_magic(path):
        raise OptionsError(f"there is no {source!r}")
    parts = path.split("/")
    at = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    folder = "/".join(parts[:at]) or "/"
    if filesystem.get_file_info(folder).type != pafs.FileType.Directory:
        raise OptionsError(f"there is no folder {folder!r}")
    pattern = _pattern(parts[at:])
    is_deep = len(parts) > at + 1 or "**" in parts[at]
    listed = filesystem.get_file_info(pafs.FileSelector(folder, recursive=is_deep))
    below = [i for i in listed if pattern.fullmatch(_below(_path(i), folder))]
    root = source[: len(source) - len("/".join(parts[at:]))].rstrip("/") or "/"
    yield from _known(below, root, folder, filesystem, format, notes)


def _path(info: Any) -> str:
    """Of a file that a folder has; bytes that are not UTF-8 as surrogates, like Python's own."""
    try:
        return str(info.path)
    except UnicodeDecodeError as exc:
        return bytes(exc.object).decode("utf-8", "surrogateescape")


def _openable(path: str) -> str:
    """The path.

    Raises
    ------
    OptionsError : it is not UTF-8, and Arrow opens no other.
    """
    try:
        path.encode()
    except UnicodeEncodeError as exc:
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        raise OptionsError(f"the name {shown} is not UTF-8", hint="rename it") from exc
    return path


def _open_filesystem(source: str) -> tuple[Any, str]:
    if not _is_url(source):
        return pafs.LocalFileSystem(), Path(source).as_posix()
    try:
        return pafs.FileSystem.from_uri(source)  # type: ignore[no-any-return]
    except (OSError, ValueError, NotImplementedError):
        pass  # an address that Arrow does not know, or a glob in one that it does
    try:
        fsspec: Any = import_module("fsspec.core")
        filesystem, path = fsspec.url_to_fs(source)
    except ImportError as exc:
        raise OptionsError(
            f"{source!r} cannot be opened", hint="pip install fsspec, and what its protocol needs"
        ) from exc
    except ValueError as exc:
        raise OptionsError(f"{source!r} cannot be opened: {exc}") from exc
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def _below(path: str, folder: str) -> str:
    return path[len(folder) :].lstrip("/") if path.startswith(folder) else path


def _pattern(parts: Sequence[str]) -> re.Pattern[str]:
    """A regex of glob parts; ``**`` stands for any folders, and no star crosses a slash."""
    out = []
    for i, part in enumerate(parts):
        is_last = i == len(parts) - 1
        if part == "**":
            out.append(".*" if is_last else "(?:[^/]+/)*")
            continue
        text = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        text = re.sub(r"\\\[(!|\\\^)?(.*?)\\\]", _bracket, text)
        out.append(text + ("" if is_last else "/"))
    return re.compile("".join(out))


def _bracket(match: re.Match[str]) -> str:
    return f"[{'^' if match[1] else ''}{match[2].replace(chr(92) + '-', '-')}]"


def _kind(name: str) -> tuple[str | None, str | None]:
    """Format and compression by a name's endings."""
    head, dot, tail = name.lower().rpartition(".")
    compression = COMPRESSIONS.get(dot + tail)
    if compression is not None:
        _, dot, tail = head.rpartition(".")
    return FORMATS.get(dot + tail), compression


def _known(
    infos: Iterable[Any],
    root: str,
    folder: str,
    filesystem: Any,
    format: str | None,  # noqa: A002
    notes: list[str],
) -> Iterable[SourceFile]:
    """The files among them whose format is known, in natural order of their names."""
    files, others = [], 0
    for info in infos:
        path = _path(info)
        name = _below(path, folder)
        if info.type != pafs.FileType.File or _is_hidden(name):
            continue
        kind, compression = _kind(name)
        if format is None and kind is None:
            others += 1
            continue
        files.append(
            SourceFile(
                root=root,
                name=name,
                filesystem=filesystem,
                path=_openable(path),
                size=info.size,
                modified_ns=info.mtime_ns or 0,
                format=str(format or kind),
                compression=compression,
                partitions=_partitions(name),
            )
        )
    if others:
        notes.append(f"{others} files of other kinds in {root} were left out")
    return sorted(files, key=lambda file: _natural(file.name))


def _is_hidden(name: str) -> bool:
    """Whether a part of it begins with ``.`` or ``_``, as what engines leave beside data does."""
    return any(part[:1] in (".", "_") and "=" not in part for part in name.split("/"))


def _natural(name: str) -> list[tuple[int, Any]]:
    """A key that sorts ``day2`` before ``day10``."""
    return [(0, int(p)) if p.isdecimal() else (1, p) for p in re.split(r"(\d+)", name) if p]


def _partitions(name: str) -> tuple[tuple[str, str | None], ...]:
    out = []
    for part in name.split("/")[:-1]:
        key, equals, value = part.partition("=")
        if equals and key:
            text = unquote(value)
            out.append((unquote(key), None if text == _HIVE_NULL else text))
    return tuple(out)
