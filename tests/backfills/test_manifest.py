"""The manifest: its own file, one process at a time, and nothing else than what it says."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from iotdb_frames.backfills.manifest import Manifest
from iotdb_frames.errors import IoTDBFramesError, OptionsError


@pytest.fixture
def book(manifest: Path) -> Manifest:
    """A new one with a file."""
    opened = Manifest(manifest, create=True)
    opened.add_file("/in", "a.csv", size=10, modified_ns=1, fingerprint="f")
    yield opened
    opened.close()


def test_only_its_owner_may_read_it(book: Manifest) -> None:
    """It is made with mode 0600, and so is what SQLite keeps beside; a wider one is narrowed."""
    book.set(x=1)
    modes = {p.name: p.stat().st_mode & 0o777 for p in book.path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
    assert len(modes) > 1
    book.path.chmod(0o644)
    Manifest(book.path).close()
    assert book.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_change_is_refused(book: Manifest, mode: int) -> None:
    """A manifest that others may write is not believed: it decides what is sent."""
    book.path.chmod(mode)
    with pytest.raises(OptionsError, match="other users can change"):
        Manifest(book.path)


def test_what_is_no_manifest_is_refused(tmp_path: Path, book: Manifest) -> None:
    """Nothing, a folder, a link, another SQLite file and another version are each told apart."""
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    link = tmp_path / "link.sqlite"
    link.symlink_to(book.path)
    text = tmp_path / "text"
    text.write_text("time,a\n" * 1000)
    for path in (other, text):
        path.chmod(0o600)
    for path, told in (
        (tmp_path / "none.sqlite", "there is no manifest"),
        (tmp_path, "not a regular file"),
        (link, "not a regular file"),
        (other, "another SQLite file"),
        (text, "damaged"),
    ):
        with pytest.raises(IoTDBFramesError, match=told):
            Manifest(path)
    with sqlite3.connect(book.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OptionsError, match="another version"):
        Manifest(book.path)


def test_one_process_at_a_time(book: Manifest) -> None:
    """A second process is told who holds it, and gets it when that one is gone, however."""
    code = (
        "import sys; from iotdb_frames.backfills.manifest import Manifest\n"
        f"with Manifest({str(book.path)!r}).hold():\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdin is not None
    assert other.stdout.readline() == "held\n"
    with (
        pytest.raises(OptionsError, match=f"in use by process {other.pid} ") as caught,
        book.hold(),
    ):
        pass
    assert os.uname().nodename in str(caught.value)
    assert book.holder == {**(book.holder or {}), "pid": other.pid}
    other.kill()
    other.wait()
    other.stdout.close()
    other.stdin.close()
    with book.hold():
        assert (book.holder or {})["pid"] == os.getpid()
    assert book.holder is None


def test_any_number_may_begin_at_once(tmp_path: Path) -> None:
    """Of those that open a manifest at the moment when it is made, each finds it whole."""
    at_once = threading.Barrier(4)

    def begin(path: Path, *, create: bool) -> None:
        at_once.wait()
        with suppress(OptionsError):  # there is none yet
            opened = Manifest(path, create=create)
            opened.set(x=1)
            opened.close()

    with ThreadPoolExecutor(4) as pool:
        for i in range(40):
            path = tmp_path / f"{i}.sqlite"
            for job in [pool.submit(begin, path, create=at != 3) for at in range(4)]:
                job.result()
            opened = Manifest(path)
            assert opened.get("x") == 1
            opened.close()


def test_a_unit_through_its_life(book: Manifest) -> None:
    """Begun, it is being sent; what was there before counts once; ended, its letters are kept."""
    (file,) = book.files()
    for before in (5, 99):  # the second time a part of it may be there already
        unit = book.begin(file.id, 0, 10, before=before, n_bytes=7, first_tick=1, last_tick=9)
    (row,) = book.units()
    assert (row.id, row.state, row.tries, row.before, row.n_bytes) == (unit, "sending", 2, 5, 7)
    book.finish(unit, letters=[(2, b"x")], rows=10, written=8, refused=2, points=16)
    (row,) = book.units("written")
    assert (row.rows, row.written, row.refused, row.points) == (10, 8, 2, 16)
    assert list(book.refused()) == [(unit, b"x")]
    book.begin(file.id, 0, 10)
    assert list(book.refused()) == []  # they come again
    assert [t[:3] for t in book.totals()] == [(file.id, "sending", 1)]


def test_a_file_that_begins_anew_forgets(book: Manifest) -> None:
    """A changed file goes behind the others, without its units and letters."""
    (file,) = book.files()
    unit = book.begin(file.id, 0, 10)
    book.finish(unit, letters=[(1, b"x")])
    book.add_file("/in", "b.csv", size=1, modified_ns=1, fingerprint="g")
    book.add_file("/in", "a.csv", size=11, modified_ns=2, fingerprint="h")
    assert [f.name for f in book.files()] == ["b.csv", "a.csv"]
    assert book.units() == []
    assert list(book.refused()) == []


@pytest.mark.parametrize(
    ("ticks", "reopened"), [((0, 5), []), ((0, 10), [1]), ((12, 25), [1, 2]), ((21, 21), [2])]
)
def test_later_units_follow_once_more(
    book: Manifest, ticks: tuple[int, int], reopened: list[int]
) -> None:
    """A unit that is sent again makes those behind it pending that may share a time with it."""
    (file,) = book.files()
    for i, (first, last) in enumerate([ticks, (10, 19), (20, 29), (30, 39)]):
        unit = book.begin(file.id, i, i + 1, first_tick=first, last_tick=last)
        book.finish(unit, letters=[])
    first_unit = book.units()[0]
    assert book.reopen(first_unit.id, *ticks) == len(reopened)
    assert [u.start for u in book.units("pending")] == reopened


def test_failures_are_tried_again_when_asked(book: Manifest) -> None:
    """Failed units and files become open again; the others stay as they are."""
    (file,) = book.files()
    for i, state in enumerate(("failed", "written", "verified")):
        unit = book.begin(file.id, i, i + 1)
        book.set_unit(unit, state=state, error="no" if state == "failed" else None)
    book.set_file(file.id, error="broken", is_read=1)
    assert book.retry_failed() == 2
    assert [(u.state, u.error) for u in book.units()] == [
        ("pending", None),
        ("written", None),
        ("verified", None),
    ]
    assert [(f.error, f.is_read) for f in book.files()] == [(None, 0)]


def test_every_verdict_is_counted(book: Manifest) -> None:
    """Sixty units, each with something else beside it, are sixty; the frequent texts come first."""
    for at in range(60):
        unit = book.begin(1, start=at, stop=at + 1, line=0, end_line=0, n_bytes=1, digest=str(at))
        book.set_unit(unit, state="verified", verdict="complete beside others", beside=f"{at} more")
    unit = book.begin(1, start=60, stop=61, line=0, end_line=0, n_bytes=1, digest="60")
    book.set_unit(unit, state="verified", verdict="complete beside others", beside="7 more")
    assert book.verdicts() == [("complete beside others", 61)]
    assert book.beside("complete beside others", most=1) == ["7 more"]
