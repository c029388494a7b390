"""Compile the start gate, or check that the compiled classes in the package belong to this source.

::

    python controller/gate/build.py            compile into the package
    python controller/gate/build.py --check    compile again and compare (CI)

javac is deterministic, but not the same over its versions. ``BUILD.json`` beside the classes records
which one was used. The check compiles the source again and compares bytes where the compiler is of
that version, otherwise every class's disassembled code (constants resolved, pool positions dropped).
Either way what is shipped has been compared with what this source compiles to.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
CLASSES = SOURCE.parent / "durablejob_controller/backends/gate_classes"
RECORD = CLASSES / "BUILD.json"
OPTIONS = ("--release", "8", "-g:none", "-Xlint:all,-options", "-Werror")


def run(*command: str | Path) -> str:
    """Standard output of ``command``; a failure ends the program with the command's own words."""
    try:
        # Fixed commands of the JDK, no shell.
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not here: building the gate needs a JDK, 17 or newer")
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def compile_to(target: Path) -> None:
    """Compile all sources below this folder into ``target``."""
    run("javac", *OPTIONS, "-d", target, *sorted(SOURCE.rglob("*.java")))


def classes_in(folder: Path) -> dict[str, bytes]:
    """The class files below ``folder`` by their relative names."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.class"))}


def javac_version() -> str:
    """``17.0.15`` out of ``javac 17.0.15``."""
    return run("javac", "-version").split()[-1]


def disassembled(folder: Path, name: str) -> str:
    """A class as text, without what differs between compilers: positions in the constant pool."""
    text = run("javap", "-c", "-p", "-s", "-constants", "-classpath", folder, folder / name)
    return re.sub(r"#\d+(, *\d+)?", "#", text)


def differences(fresh: Path) -> list[str]:
    """What the shipped classes do not share with the freshly compiled ones; empty means they agree."""
    ours, theirs = classes_in(CLASSES), classes_in(fresh)
    if ours.keys() != theirs.keys():
        return [f"classes differ: shipped {sorted(ours)}, compiled {sorted(theirs)}"]
    recorded = json.loads(RECORD.read_text())
    if recorded["javac"] == javac_version():
        return [f"{name}: bytes differ" for name in ours if ours[name] != theirs[name]]
    return [f"{name}: code differs" for name in ours if disassembled(CLASSES, name) != disassembled(fresh, name)]


def build() -> None:
    """Replace the shipped classes."""
    for stale in CLASSES.rglob("*.class"):
        stale.unlink()
    compile_to(CLASSES)
    RECORD.write_text(json.dumps({"javac": javac_version(), "options": OPTIONS}, indent=2) + "\n")
    for name, data in classes_in(CLASSES).items():
        print(f"{name}: {len(data)} bytes")


def check() -> None:
    """End with an error if the shipped classes are not what the source says."""
    with tempfile.TemporaryDirectory() as folder:
        compile_to(Path(folder))
        found = differences(Path(folder))
    if found:
        sys.exit("the gate's classes do not belong to its source; run controller/gate/build.py\n" + "\n".join(found))
    print("the gate's classes belong to its source")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of replacing")
    (check if parser.parse_args().check else build)()
