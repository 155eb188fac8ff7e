"""Where the server comes from: IOTDB_HOME, the cache, a download that may go wrong."""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType

import pytest

from iotdb_frames.errors import LaunchError
from iotdb_frames.server import install
from iotdb_frames.server.fetch import SHA256, fetch_zip, unzip
from iotdb_frames.server.install import ARTIFACTS, DEFAULT_VERSION, find_installation


def zip_of(members: Mapping[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


class Repository:
    """A Maven repository on loopback, with two small zip files in the place of IoTDB's.

    Serves `version` of both artifacts, and counts what was asked for.

    `torn` sends only the first half of every zip and hangs up, `checksums` says whether there are
    any, `delay_s` is how long each zip takes.
    """

    def __init__(self, version: str = "9.9.9") -> None:
        self.version = version
        self.zips = {
            name: zip_of({"conf/": "", f"lib/{name}-{version}.jar": b"x" * 100_000})
            for name in ARTIFACTS
        }
        self.torn = False
        self.checksums = True
        self.delay_s = 0.0
        self.asked: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/maven"

    def _handler(repository) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - two selves
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.rsplit("/", 1)[-1]
        self.asked[name] += 1
        body: bytes | None = None
        for artifact, packed in self.zips.items():
            file = f"{artifact}-{self.version}.zip"
            if name == file:
                body = packed
                threading.Event().wait(self.delay_s)
            elif name == f"{file}.sha1" and self.checksums:
                body = hashlib.sha1(packed, usedforsecurity=False).hexdigest().encode()
        if body is None:
            request.send_error(404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: len(body) // 2] if self.torn and name.endswith("zip") else body)

    def __enter__(self) -> Repository:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A repository on loopback that the download asks, and an empty cache."""
    monkeypatch.delenv("IOTDB_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IOTDB_FRAMES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Repository() as served:
        monkeypatch.setenv("IOTDB_FRAMES_MAVEN_MIRROR", served.url + "/")
        yield served


def names_below(directory: Path) -> set[str]:
    return {file.name for file in directory.rglob("*") if file.is_file()}


def test_download_comes_once(
    repository: Repository, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Both zips are fetched, checked, unpacked and kept, and their size is said before."""
    found = find_installation("9.9.9")
    assert found.home == tmp_path / "cache" / "iotdb-9.9.9"
    assert {f"{name}-9.9.9.jar" for name in ARTIFACTS} <= names_below(found.lib)
    told = capfd.readouterr().err
    assert re.search(r"Downloading iotdb-server-9.9.9.zip \([\d.]+ KiB\), once\n", told)
    assert "%" not in told  # no bar: this is no terminal
    assert "sha1" not in told
    assert not list((tmp_path / "cache").glob("*.zip"))
    before = repository.asked.total()
    assert find_installation("9.9.9") == found
    assert repository.asked.total() == before


def test_half_deleted_cache_is_fetched_again(repository: Repository) -> None:
    """A cache whose files were cleaned away or cut is not taken for an installation."""
    found = find_installation("9.9.9")
    jar = found.lib / "iotdb-server-9.9.9.jar"
    jar.write_bytes(b"cut")
    assert find_installation("9.9.9") == found
    assert jar.stat().st_size == 100_000


def test_torn_download_leaves_nothing(repository: Repository, tmp_path: Path) -> None:
    """A download that breaks off is an error with a remedy, and the next try starts afresh."""
    repository.torn = True
    with pytest.raises(LaunchError, match="could not be downloaded") as caught:
        find_installation("9.9.9")
    assert "IOTDB_HOME" in str(caught.value.hint)
    assert not (tmp_path / "cache" / "iotdb-9.9.9").exists()
    repository.torn = False
    assert find_installation("9.9.9").version == "9.9.9"


def test_checked_zip_is_not_fetched_twice(repository: Repository) -> None:
    """What was whole before the second artifact failed is kept for the next try."""
    second = repository.zips.pop(ARTIFACTS[1])
    with pytest.raises(LaunchError, match="no such version"):
        find_installation("9.9.9")
    repository.zips[ARTIFACTS[1]] = second
    find_installation("9.9.9")
    assert repository.asked[f"{ARTIFACTS[0]}-9.9.9.zip"] == 1


def test_other_bytes_than_pinned_are_refused(repository: Repository, tmp_path: Path) -> None:
    """For the shipped version a repository cannot pass other files, whatever its checksums."""
    repository.version = DEFAULT_VERSION
    with pytest.raises(LaunchError, match="wrong checksum"):
        find_installation()
    assert not names_below(tmp_path / "cache") - {f"iotdb-{DEFAULT_VERSION}.lock"}


def test_version_without_checksum_is_refused(repository: Repository) -> None:
    """Nothing is unpacked that could not be checked."""
    repository.checksums = False
    with pytest.raises(LaunchError, match="no checksum"):
        find_installation("9.9.9")
    assert not [name for name in repository.asked if name.endswith(".zip")]


def test_no_network_names_the_remedy(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers, the error names IOTDB_HOME, proxy and mirror."""
    monkeypatch.setenv("IOTDB_FRAMES_MAVEN_MIRROR", "http://127.0.0.1:9/maven")
    with pytest.raises(LaunchError) as caught:
        find_installation("9.9.9")
    for remedy in ("IOTDB_HOME", "HTTPS_PROXY", "IOTDB_FRAMES_MAVEN_MIRROR"):
        assert remedy in str(caught.value)


def test_mirror_of_maven_settings_is_asked(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Maven is told to use a mirror, so are we."""
    monkeypatch.delenv("IOTDB_FRAMES_MAVEN_MIRROR")
    (tmp_path / ".m2").mkdir()
    (tmp_path / ".m2" / "settings.xml").write_text(
        '<settings xmlns="http://maven.apache.org/SETTINGS/1.2.0"><mirrors><mirror><id>us</id>'
        f"<mirrorOf>external:*</mirrorOf><url>{repository.url}</url></mirror></mirrors></settings>"
    )
    assert find_installation("9.9.9").version == "9.9.9"


def test_proxy_variable_is_obeyed(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go through the proxy that the environment names."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("http_proxy", repository.url.removesuffix("/maven"))
    monkeypatch.setenv("IOTDB_FRAMES_MAVEN_MIRROR", "http://repository.invalid/maven")
    assert find_installation("9.9.9").version == "9.9.9"


def test_two_processes_at_once_fetch_once(repository: Repository) -> None:
    """Of two processes that need the same version one fetches it, and both have it."""
    repository.delay_s = 0.5
    script = (
        "from iotdb_frames.server.install import find_installation\n"
        "print(find_installation('9.9.9').home)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(2)
    ]
    homes = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(homes) == 1
    assert {repository.asked[f"{name}-9.9.9.zip"] for name in ARTIFACTS} == {1}


def test_read_only_cache_names_the_remedy(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that cannot be written is an error that names the setting."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("IOTDB_FRAMES_CACHE", str(file / "cache"))
    with pytest.raises(LaunchError, match="IOTDB_FRAMES_CACHE"):
        find_installation("9.9.9")


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "\\out", "C:/out", "a\\..\\..\\out"]
)
def test_unzip_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    """A path that would leave the folder is refused, and nothing is unpacked."""
    archive = tmp_path / "bad.zip"
    archive.write_bytes(zip_of({"good": "1", name: "2"}))
    if "\\" in name:  # writing an archive turns these to slashes on some systems
        archive.write_bytes(
            archive.read_bytes().replace(name.replace("\\", "/").encode(), name.encode())
        )
    with pytest.raises(LaunchError, match="unsafe path"):
        unzip(archive, into=tmp_path / "into")
    assert names_below(tmp_path) == {"bad.zip"}


def test_unzip_refuses_links(tmp_path: Path) -> None:
    """A symbolic link in an archive is refused."""
    link = zipfile.ZipInfo("lib/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(LaunchError, match="unsafe path"):
        unzip(tmp_path / "bad.zip", into=tmp_path / "into")


def test_unzip_refuses_what_is_no_zip(tmp_path: Path) -> None:
    """A file that is not an archive is named as such."""
    (tmp_path / "page.zip").write_text("<html>please log in</html>")
    with pytest.raises(LaunchError, match=r"page\.zip is not a zip file"):
        unzip(tmp_path / "page.zip", into=tmp_path / "into")


def test_iotdb_home_comes_first(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IOTDB_HOME is taken before the cache, unless another version is asked for by name."""
    home = tmp_path / "own"
    (home / "lib").mkdir(parents=True)
    for name in ARTIFACTS:
        (home / "lib" / f"{name}-2.0.99.jar").touch()
    monkeypatch.setenv("IOTDB_HOME", str(home))
    assert find_installation().home == home
    assert find_installation().version == "2.0.99"
    assert find_installation("9.9.9").home != home


@pytest.mark.parametrize(
    ("jars", "text"),
    [
        ((), "has no lib/iotdb-confignode"),
        (("iotdb-confignode-2.0.10.jar",), "has no lib/iotdb-server"),
        (("iotdb-confignode-2.0.9.jar", "iotdb-server-2.0.10.jar"), "mixes versions"),
        (("iotdb-confignode-1.3.4.jar", "iotdb-server-1.3.4.jar"), "is IoTDB 1.3.4"),
    ],
)
def test_unfit_iotdb_home_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jars: tuple[str, ...], text: str
) -> None:
    """An IOTDB_HOME without a whole 2.x server is named, not silently passed over."""
    (tmp_path / "lib").mkdir()
    for jar in jars:
        (tmp_path / "lib" / jar).touch()
    monkeypatch.setenv("IOTDB_HOME", str(tmp_path))
    with pytest.raises(LaunchError, match=text):
        find_installation()


def test_version_cannot_leave_the_cache(repository: Repository) -> None:
    """A version that is a path is refused."""
    with pytest.raises(LaunchError, match="not a valid version"):
        find_installation("../2.0.10")


def test_shipped_version_is_pinned() -> None:
    """Both files of the version we ship have their SHA-256 in the code."""
    assert {f"{name}-{DEFAULT_VERSION}.zip" for name in ARTIFACTS} <= set(SHA256)
    assert all(len(digest) == 64 for digest in SHA256.values())


def test_missing_package_names_the_extra(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without jgo the error names the pip command."""
    monkeypatch.setitem(sys.modules, "jgo", None)
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(ImportError, match=r"iotdb-frames\[server\]"):
        fetch_zip("iotdb-server", "9.9.9", into=tmp_path)


def test_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting the cache is where the system keeps the user's caches."""
    monkeypatch.delenv("IOTDB_FRAMES_CACHE", raising=False)
    assert install.cache_directory().name == "iotdb-frames"
    assert os.access(install.cache_directory().parents[0], os.W_OK)
