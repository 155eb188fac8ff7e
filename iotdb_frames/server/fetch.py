"""Download IoTDB's zip artifacts, check them, unpack them.

`jgo` resolves Maven artifacts; this module adds what an unattended download of 186 MB needs: its
size beforehand and a progress bar, a checksum that is enforced, and unpacking that cannot leave its
folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from iotdb_frames.display.progress import is_shown
from iotdb_frames.display.words import size
from iotdb_frames.errors import LaunchError, missing_extra

GROUP = "org.apache.iotdb"
SHA256 = {
    "iotdb-confignode-2.0.10.zip": (
        "d0fc441379e660bd9ac16e1db021a1346a61c64e225f0b93430ab6f1ba4b5f02"
    ),
    "iotdb-server-2.0.10.zip": ("5d4a333c91e63c102097c7a8755f0c990c6b95fe640d759b3d714751a28cf79a"),
}
"""Of the files that this package was tested with."""

MAX_UNZIPPED_BYTES = 2 << 30
_OFFLINE_HINT = (
    "without a network, set IOTDB_HOME to an unpacked IoTDB; behind a proxy, set HTTPS_PROXY; "
    "with a mirror, set IOTDB_FRAMES_MAVEN_MIRROR to its URL"
)
_TLS_HINT = (
    "if this network re-signs TLS connections, set REQUESTS_CA_BUNDLE to the file of its CA; "
    "or set IOTDB_HOME to an unpacked IoTDB"
)


def fetch_zip(artifact: str, version: str, *, into: Path) -> Path:
    """One artifact's zip file, checked.

    Parameters
    ----------
    artifact, version : e.g. ``iotdb-server``, ``2.0.10``
    into : directory for it, laid out as a Maven repository; a valid file in it is used

    Raises
    ------
    LaunchError : not found, no network, or a wrong checksum.
    MissingExtraError : `jgo` is not installed.
    """
    try:
        import jgo.maven
        import requests
    except ImportError as exc:
        raise missing_extra("server", "downloading IoTDB") from exc
    resolver = jgo.maven.PythonResolver(progress_callback=_progress)
    context = jgo.maven.MavenContext(
        resolver=resolver, repo_cache=into, remote_repos=_repositories(), timeout=30
    )
    component = context.project(GROUP, artifact).at_version(version)
    try:
        is_right = _checksum(component, f"{artifact}-{version}.zip")
        zip_artifact = component.artifact(packaging="zip")
        file = into.joinpath(*GROUP.split("."), artifact, version, f"{artifact}-{version}.zip")
        if file.exists() and is_right(file):  # from a run that failed later
            return file
        file.unlink(missing_ok=True)
        file = zip_artifact.resolve()
    except (requests.RequestException, RuntimeError, OSError) as exc:
        if isinstance(exc, OSError) and not isinstance(exc, requests.RequestException):
            raise  # a disk error, not a network error
        reason = (str(exc).splitlines() or [type(exc).__name__])[0][:300]
        raise LaunchError(
            f"{artifact} {version} could not be downloaded: {reason}",
            hint=_TLS_HINT if isinstance(exc, requests.exceptions.SSLError) else _OFFLINE_HINT,
        ) from exc
    if not is_right(file):
        n_bytes = file.stat().st_size
        file.unlink()
        raise LaunchError(
            f"the download of {file.name} ({n_bytes:,} bytes) has a wrong checksum",
            hint="try again; if it persists, a proxy or mirror on the way alters files",
        )
    return file


def unzip(archive: Path, *, into: Path) -> None:
    """Unpack regular files; refuse a path that leaves `into`, links, and absurd sizes.

    Raises
    ------
    LaunchError : the archive contains one of these, or is not a zip file.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            for member in members:
                if _is_unsafe(member):
                    raise LaunchError(
                        f"{archive.name} contains an unsafe path: {member.filename!r}"
                    )
            if sum(member.file_size for member in members) > MAX_UNZIPPED_BYTES:
                raise LaunchError(
                    f"{archive.name} unpacks to more than {MAX_UNZIPPED_BYTES:,} bytes"
                )
            for member in members:
                place = into / member.filename
                if member.is_dir():
                    place.mkdir(parents=True, exist_ok=True)
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                if place.suffix == ".sh":
                    place.chmod(0o755)
    except zipfile.BadZipFile as exc:
        raise LaunchError(f"{archive.name} is not a zip file: {exc}") from exc


def _is_unsafe(member: zipfile.ZipInfo) -> bool:
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    return (
        not name
        or name.startswith(("/", "\\"))
        or "\\" in name
        or ":" in name
        or ".." in PurePosixPath(name).parts
        or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    )


def _checksum(component: Any, name: str) -> Callable[[Path], bool]:
    """A check of the file: our pinned SHA-256, otherwise the repository's checksum."""
    if name in SHA256:
        return lambda file: _digest(file, "sha256") == SHA256[name]
    for kind in ("sha512", "sha1"):
        try:
            text = component.artifact(packaging=f"zip.{kind}").resolve().read_text("ascii")
        except RuntimeError:  # this repository has no such file
            continue
        expected = text.split()[0].lower() if text.split() else ""
        return lambda file, kind=kind, expected=expected: _digest(file, kind) == expected  # type: ignore[misc]
    raise RuntimeError("the repository has no such version, or no checksum for it")


def _digest(file: Path, kind: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, kind).hexdigest()


def _repositories() -> dict[str, str] | None:
    """Maven repositories to use; None: jgo's default."""
    mirror = os.environ.get("IOTDB_FRAMES_MAVEN_MIRROR") or _maven_mirror()
    if mirror:
        return {"mirror": mirror.rstrip("/")}
    from jgo.config import GlobalSettings

    return dict(GlobalSettings.load().repositories) or None


def _maven_mirror() -> str | None:
    """The mirror of the default repository in Maven's user settings."""
    try:
        settings = ElementTree.parse(Path.home() / ".m2" / "settings.xml")  # noqa: S314 - the user's own file
    except (OSError, ElementTree.ParseError, RuntimeError):
        return None
    for mirror in settings.iterfind("{*}mirrors/{*}mirror"):
        of = (mirror.findtext("{*}mirrorOf") or "").replace(" ", "").split(",")
        url = (mirror.findtext("{*}url") or "").strip()
        if "!central" not in of and {"*", "external:*", "central"} & set(of) and url:
            return url
    return None


@contextmanager
def _progress(name: str, n_bytes: int) -> Iterator[Callable[[int], None]]:
    from tqdm import tqdm

    if name.endswith(".zip"):  # not for a checksum of 40 bytes
        sys.stderr.write(f"Downloading {name} ({size(n_bytes)}), once\n")
    with tqdm(
        total=n_bytes,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        file=sys.stderr,
        mininterval=0.5,
        leave=False,
        disable=not (name.endswith(".zip") and is_shown()),
    ) as bar:
        yield bar.update
