"""Find IoTDB's jars: ``IOTDB_HOME``, the cache, otherwise the two zip artifacts `jgo` resolves.

Nothing is used unchecked: a download is accepted only with the right checksum, and is moved to the
cache by one rename, under a lock, so that a broken download or a second process does no harm.

Environment
-----------
IOTDB_HOME : an unpacked IoTDB with ConfigNode and DataNode; used first.
IOTDB_FRAMES_CACHE : directory of the cache, instead of the user's cache directory.
IOTDB_FRAMES_MAVEN_MIRROR : URL of a Maven repository to use. Otherwise jgo's own settings file,
    the mirror in Maven's ``~/.m2/settings.xml``, then jgo's default. Proxies are read from the
    usual variables.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from iotdb_frames.errors import LaunchError
from iotdb_frames.locks import Locked, hold
from iotdb_frames.server.fetch import fetch_zip, unzip

DEFAULT_VERSION = "2.0.10"
ARTIFACTS = ("iotdb-confignode", "iotdb-server")
_MANIFEST = "iotdb-frames-manifest.json"


@dataclass(frozen=True)
class Installation:
    """An unpacked IoTDB: its folder and its version."""

    home: Path
    version: str

    @property
    def lib(self) -> Path:
        """The folder of its jars."""
        return self.home / "lib"


def find_installation(version: str | None = None) -> Installation:
    """The IoTDB to start, downloaded into the cache if the machine has none.

    Parameters
    ----------
    version : e.g. "2.0.10"; None: ``IOTDB_HOME`` in any version, otherwise the version that this
        package was tested with.

    Raises
    ------
    LaunchError : ``IOTDB_HOME`` is not a complete server; the download failed or is wrong.
    MissingExtraError : a download is needed and `jgo` is not installed.
    """
    home = os.environ.get("IOTDB_HOME")
    if home:
        found = _inspect(Path(home))
        if version in (None, found.version):
            return found
    return _from_cache(version or DEFAULT_VERSION)


def look_for_installation() -> Installation | None:
    """Like `find_installation`, but None if it would have to download one.

    Raises
    ------
    LaunchError : ``IOTDB_HOME`` is not a complete server.
    """
    home = cache_directory() / f"iotdb-{DEFAULT_VERSION}"
    if os.environ.get("IOTDB_HOME") or _is_whole(home):
        return find_installation()
    return None


def cache_directory() -> Path:
    """The directory of downloaded servers."""
    given = os.environ.get("IOTDB_FRAMES_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("iotdb-frames")


def _inspect(home: Path) -> Installation:
    versions = {}
    for artifact in ARTIFACTS:
        jars = [
            match[1]
            for file in (home / "lib").glob(f"{artifact}-*.jar")
            if (match := re.fullmatch(rf"{artifact}-(\d[\w.\-]*)\.jar", file.name))
        ]
        if not jars:
            raise LaunchError(
                f"IOTDB_HOME={home} has no lib/{artifact}-….jar",
                hint="point it at an IoTDB 2.x with ConfigNode and DataNode, or unset it",
            )
        versions[artifact] = jars[0]
    if len(set(versions.values())) > 1:
        raise LaunchError(f"IOTDB_HOME={home} mixes versions: {versions}")
    version = versions[ARTIFACTS[0]]
    if int(version.split(".")[0]) < 2:
        raise LaunchError(f"IOTDB_HOME={home} is IoTDB {version}", hint="use IoTDB 2.0 or newer")
    return Installation(home.resolve(), version)


def _from_cache(version: str) -> Installation:
    if not re.fullmatch(r"\d+\.\d+[\w.\-]*", version):
        raise LaunchError(
            f"{version!r} is not a valid version of IoTDB", hint=f"e.g. {DEFAULT_VERSION}"
        )
    cache = cache_directory()
    home = cache / f"iotdb-{version}"
    if _is_whole(home):
        return Installation(home, version)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with hold(cache / f"iotdb-{version}.lock", timeout_s=1800):
            if not _is_whole(home):  # another process may have downloaded it meanwhile
                _install(home, version)
    except Locked as exc:
        raise LaunchError(
            f"another process has been downloading IoTDB {version} for 30 minutes"
        ) from exc
    except OSError as exc:
        raise LaunchError(
            f"IoTDB {version} cannot be stored in {cache}: {exc}",
            hint="it needs 300 MB; set IOTDB_FRAMES_CACHE to another directory",
        ) from exc
    return Installation(home, version)


def _install(home: Path, version: str) -> None:
    downloads = home.with_name(f"{home.name}.downloads")
    part = home.with_name(f"{home.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a killed process, for we hold the lock
    for artifact in ARTIFACTS:
        unzip(fetch_zip(artifact, version, into=downloads), into=part)
    sizes = {
        file.relative_to(part).as_posix(): file.stat().st_size
        for file in sorted(part.rglob("*"))
        if file.is_file()
    }
    (part / _MANIFEST).write_text(json.dumps(sizes, indent=0), encoding="utf-8")
    if home.exists():  # not whole
        shutil.rmtree(home)
    part.rename(home)
    shutil.rmtree(downloads, ignore_errors=True)


def _is_whole(home: Path) -> bool:
    """Whether every file exists in its size, unlike in a partly deleted cache."""
    try:
        sizes = json.loads((home / _MANIFEST).read_text(encoding="utf-8"))
        return all((home / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
