"""The claim's JAR: a generated main class, and the gate that it calls.

Spark's Master takes no key from a client, but shows a driver's main class from the moment of its
submission. So each claim gets a main class of its own, whose name is the claim::

    io.durablejob.claim.C_<key>_<number>

Its ``main`` calls ``io.durablejob.Gate.main`` and nothing else. It is written here byte by byte
(Java Virtual Machine Specification, chapter 4): controllers need no Java.
"""

from __future__ import annotations

import re
import struct

from durablejob_api.names import KEY_LENGTH
from durablejob_controller.backends.gate_jar import GATE, archive, gate_classes

_PREFIX = "io.durablejob.claim.C_"
_CLASS_NAME = re.compile(rf"{re.escape(_PREFIX)}([a-z][a-z0-9]{{{KEY_LENGTH - 1}}})_([1-9][0-9]{{0,6}})")
_JAVA_8 = 52
_PUBLIC_STATIC = 0x0009
_PUBLIC_SUPER = 0x0021


def class_name(key: str, claim: int) -> str:
    """Name of the main class that stands for one claim."""
    return f"{_PREFIX}{key}_{claim}"


def parse_class_name(name: str) -> tuple[str, int] | None:
    """(key, claim number) of one of our main classes; None for a stranger's."""
    match = _CLASS_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else None


class _Pool:
    """A class file's constant pool under construction; each method returns an index, from 1."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []

    def _add(self, entry: bytes) -> int:
        self.entries.append(entry)
        return len(self.entries)

    def utf8(self, text: str) -> int:
        data = text.encode()
        return self._add(struct.pack(">BH", 1, len(data)) + data)

    def type(self, name: str) -> int:
        return self._add(struct.pack(">BH", 7, self.utf8(name.replace(".", "/"))))

    def method(self, owner: int, name: int, descriptor: int) -> int:
        name_and_type = self._add(struct.pack(">BHH", 12, name, descriptor))
        return self._add(struct.pack(">BHH", 10, owner, name_and_type))

    def dump(self) -> bytes:
        return struct.pack(">H", len(self.entries) + 1) + b"".join(self.entries)


def class_bytes(name: str, target: str = GATE) -> bytes:
    """``public class <name> { public static void main(String[] a) { <target>.main(a); } }`` for Java 8 and newer."""
    pool = _Pool()
    this, parent, gate = pool.type(name), pool.type("java.lang.Object"), pool.type(target)
    main, descriptor = pool.utf8("main"), pool.utf8("([Ljava/lang/String;)V")
    call = pool.method(gate, main, descriptor)
    code = struct.pack(">BBHB", 0x2A, 0xB8, call, 0xB1)  # aload_0; invokestatic; return
    body = struct.pack(">HHI", 1, 1, len(code)) + code + struct.pack(">HH", 0, 0)
    attribute = struct.pack(">HI", pool.utf8("Code"), len(body)) + body
    method = struct.pack(">HHHH", _PUBLIC_STATIC, main, descriptor, 1) + attribute
    head = struct.pack(">IHH", 0xCAFEBABE, 0, _JAVA_8) + pool.dump()
    return head + struct.pack(">HHHHHH", _PUBLIC_SUPER, this, parent, 0, 0, 1) + method + struct.pack(">H", 0)


def jar(key: str, claim: int) -> bytes:
    """The JAR of one claim; the same bytes whoever makes it, whenever."""
    name = class_name(key, claim)
    return archive([(name.replace(".", "/") + ".class", class_bytes(name)), *gate_classes()])
