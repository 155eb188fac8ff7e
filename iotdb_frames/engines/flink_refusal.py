"""How a submitted job ends for good: with a Java function, for Python has no word for it.

Whatever a Python function raises, Flink goes back to the last checkpoint and tries it again. Only a
`SuppressRestartsException` says that this is of no use, and only Java can throw one. The class that
does is this, put together here, because there may be no compiler where there is a Java::

    public class Refusal extends ScalarFunction {
        public String eval(String told) {
            throw new SuppressRestartsException(new RuntimeException(told));
        }
    }
"""

from __future__ import annotations

import atexit
import re
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

from iotdb_frames import errors
from iotdb_frames.errors import IoTDBFramesError

CLASS = "iotdb_frames.Refusal"
_PARENT = "org/apache/flink/table/functions/ScalarFunction"
_FINAL = "org/apache/flink/runtime/execution/SuppressRestartsException"
_NEW, _DUP, _LOAD_0, _LOAD_1, _CALL, _THROW, _RETURN = 0xBB, 0x59, 0x2A, 0x2B, 0xB7, 0xBF, 0xB1
_JAVA_8 = 52


class _Constants:
    """The constant pool of a class file."""

    def __init__(self) -> None:
        self._found: dict[bytes, int] = {}

    def _index(self, entry: bytes) -> int:
        return self._found.setdefault(entry, len(self._found) + 1)

    def text(self, text: str) -> int:
        return self._index(struct.pack(">BH", 1, len(text)) + text.encode())

    def type(self, name: str) -> int:
        return self._index(struct.pack(">BH", 7, self.text(name)))

    def constructor(self, of: str, signature: str) -> int:
        name = struct.pack(">BHH", 12, self.text("<init>"), self.text(signature))
        return self._index(struct.pack(">BHH", 10, self.type(of), self._index(name)))

    def packed(self) -> bytes:
        return struct.pack(">H", len(self._found) + 1) + b"".join(self._found)


def class_file() -> bytes:
    """The class file of the class above. Source: the Java Virtual Machine Specification, ch. 4."""
    pool = _Constants()

    def method(name: str, signature: str, stack: int, locals_: int, parts: Sequence[int]) -> bytes:
        # An operation is a byte, and an index into the pool, which is negative here, two.
        code = b"".join(struct.pack(">H", -p) if p < 0 else bytes([p]) for p in parts)
        body = struct.pack(">HHI", stack, locals_, len(code)) + code + bytes(4)
        head = struct.pack(">HHHH", 1, pool.text(name), pool.text(signature), 1)
        return head + struct.pack(">HI", pool.text("Code"), len(body)) + body

    text, runtime = "Ljava/lang/String;", "java/lang/RuntimeException"
    methods = [
        method("<init>", "()V", 1, 1, [_LOAD_0, _CALL, -pool.constructor(_PARENT, "()V"), _RETURN]),
        method(
            "eval",
            f"({text}){text}",
            5,
            2,
            [
                *(_NEW, -pool.type(_FINAL), _DUP, _NEW, -pool.type(runtime), _DUP, _LOAD_1),
                *(_CALL, -pool.constructor(runtime, f"({text})V")),
                *(_CALL, -pool.constructor(_FINAL, "(Ljava/lang/Throwable;)V"), _THROW),
            ],
        ),
    ]
    ends = struct.pack(">HHHHH", 0x21, pool.type(CLASS.replace(".", "/")), pool.type(_PARENT), 0, 0)
    members = struct.pack(">H", len(methods)) + b"".join(methods) + bytes(2)
    return struct.pack(">IHH", 0xCAFEBABE, 0, _JAVA_8) + pool.packed() + ends + members


@cache
def the_jar() -> str:
    """The URL of a jar of that class, which is there as long as this process: jobs are given it."""
    directory = TemporaryDirectory(prefix="iotdb-frames-")
    atexit.register(directory.cleanup)
    jar = Path(directory.name) / "refusal.jar"
    with ZipFile(jar, "w") as file:
        file.writestr(CLASS.replace(".", "/") + ".class", class_file())
    return jar.as_uri()


def in_words(error: IoTDBFramesError) -> str:
    """An error as the text that goes through Java; `found_in` finds it there."""
    hint = f" [{error.hint}]" if error.hint else ""
    return f"iotdb_frames.errors.{type(error).__name__}: {error.message}{hint}".replace("\n", " ")


def found_in(trace: str) -> IoTDBFramesError | None:
    """Our error in the stack trace of a job that failed, with its words only."""
    found = re.findall(r"\biotdb_frames\.errors\.(\w+): (.*)", trace)
    kind = getattr(errors, found[-1][0], None) if found else None
    if not (isinstance(kind, type) and issubclass(kind, IoTDBFramesError)):
        return None
    message, _, hint = found[-1][1].removesuffix("]").partition(" [")
    return kind(message, hint=hint or None)
