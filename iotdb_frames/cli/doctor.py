"""``doctor``: what is installed, found and reachable, and how to fix what is not."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata

import typer

from iotdb_frames.cli import screen
from iotdb_frames.cli.doctor_cluster import look_at_cluster
from iotdb_frames.cli.finding import Finding
from iotdb_frames.display.grid import terminal_width, wrapped
from iotdb_frames.errors import IoTDBFramesError

_EXTRAS = {"server": "a local server", "notebook": "live panels in notebooks"}
_TIMEOUT_S = 5.0
_IN_USE = "in use"
"""What `doctor` calls the server of calls that name no other, or of --url."""
_MARKS = {"ok": ("✓", "green"), "absent": ("-", "yellow"), "broken": ("✗", "red")}


def doctor(url: screen.Url = None) -> None:
    """Show what is installed, found and reachable, and how to fix what is not.

    Starts, downloads and writes nothing.
    """
    findings = [*_packages(), *_extras(), *_java(), *_iotdb(), *_local(), *_address(url)]
    width, columns = max(len(f.what) for f in findings), terminal_width()
    for finding in findings:
        mark, style = _MARKS[finding.state]
        indent = " " * (width + 4)
        label = f"{mark} {finding.what:<{width}}  "
        screen.show(*wrapped(finding.found, label, indent, width=columns), style=style)
        if finding.remedy and finding.state != "ok":
            screen.show(*wrapped(finding.remedy, f"{indent}→ ", f"{indent}  ", width=columns))
    if any(f.state == "broken" for f in findings):
        raise typer.Exit(1)


def _packages() -> Iterator[Finding]:
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    for name in ("iotdb-frames", "pandas", "numpy", "pyarrow", "apache-iotdb"):
        yield Finding(name, metadata.version(name))


def _extras() -> Iterator[Finding]:
    for extra, purpose in _EXTRAS.items():
        versions, missing = [], []
        for name in packages_of(extra):
            try:
                versions.append(f"{name} {metadata.version(name)}")
            except metadata.PackageNotFoundError:
                missing.append(name)
        what = f"extra [{extra}]"
        if missing:
            yield Finding(
                what,
                f"no {', '.join(missing)}: required for {purpose}",
                "absent",
                f'pip install "iotdb-frames[{extra}]"',
            )
        else:
            yield Finding(what, ", ".join(versions))


def packages_of(extra: str) -> list[str]:
    """The packages that an extra installs, from the installed metadata."""
    return [
        match[1]
        for text in metadata.requires("iotdb-frames") or ()
        if (match := re.match(r"([\w.-]+)", text))
        and re.search(rf"extra == ['\"]{extra}['\"]", text)
    ]


def _java() -> Iterator[Finding]:
    from iotdb_frames.server.java import find_java

    try:
        java = find_java()
    except IoTDBFramesError as exc:
        yield Finding.from_error("Java", exc, "absent")
    else:
        yield Finding("Java", f"{java.major}, {java.command}")


def _iotdb() -> Iterator[Finding]:
    from iotdb_frames.server.install import DEFAULT_VERSION, look_for_installation

    try:
        found = look_for_installation()
    except IoTDBFramesError as exc:
        yield Finding.from_error("IoTDB", exc)
        return
    if found is None:
        yield Finding(
            "IoTDB",
            f"{DEFAULT_VERSION} is not downloaded yet",
            "absent",
            "the first local server downloads it (178 MiB); or set IOTDB_HOME to one you have",
        )
    else:
        yield Finding("IoTDB", f"{found.version}, {found.home}")


def _local() -> Iterator[Finding]:
    from iotdb_frames.server import local_status

    try:
        status = local_status()
    except IoTDBFramesError as exc:
        yield Finding.from_error("local:", exc, "absent")
        return
    if not status.is_running:
        yield Finding("local:", "not running; its first use starts it")
        return
    found = f"IoTDB {status.version} is running at {status.url}, data in {status.directory}"
    yield Finding("local:", found)


def _address(url: str | None) -> Iterator[Finding]:
    """Whether a call without a connection (or with this URL) would reach a server."""
    import iotdb_frames as iotf
    from iotdb_frames.options import NO_RETRY, default_url

    try:
        asked = url or default_url()
        shown = _shown(asked) if asked else "127.0.0.1:6667"
        if asked and asked.startswith("local:"):
            from iotdb_frames.server import local_status

            directory = asked.partition("?")[0].removeprefix("local:").removeprefix("//")
            if not local_status(directory or None).is_running:
                yield Finding(_IN_USE, f"{shown}, which its first use starts")
                return
        with iotf.connect(
            asked, connect_timeout_s=_TIMEOUT_S, timeout_s=_TIMEOUT_S, retry=NO_RETRY
        ) as connection:
            version, precision = connection.version, connection.server.precision
            where = connection.options.url
            where = where if where.endswith(shown) else f"{shown}, {where}"
            yield Finding(_IN_USE, f"{where}, IoTDB {version}, times in {precision}")
            yield from look_at_cluster(connection)
    except IoTDBFramesError as exc:
        # The default address was not asked for, so a missing server there is not an error.
        yield Finding.from_error(
            _IN_USE if url is None else "--url", exc, "absent" if _is_default(url) else "broken"
        )


def _is_default(url: str | None) -> bool:
    from iotdb_frames.options import default_url

    with suppress(IoTDBFramesError):
        return not (url or default_url())
    return False


def _shown(url: str) -> str:
    """A URL without its password and its options."""
    address = url.partition("?")[0]
    return re.sub(r"//([^:@/]*):[^@]*@", r"//\1@", address)
