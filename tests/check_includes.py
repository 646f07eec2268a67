#!/usr/bin/env python3
"""Checks the architecture of the tree, from its #include lines. Exit 1 with one line per offence.

- Includes run one way: launcher -> rendezvous -> env, and inside launcher along LAUNCHER below. tests/ may include all.
- The project's own headers are included by their path from the root, and exist; a source's own header comes first.
- Never <boost/asio.hpp>, and no header includes nlohmann/json.hpp, yaml-cpp, CLI11 or spdlog: each costs seconds per source.
- Headers begin with #pragma once.
"""

import re
import sys
from pathlib import Path

# folder -> the folders whose headers it may include, besides its own
LAUNCHER = {
    "launcher/job": [],
    "launcher/megatron": ["launcher/job"],
    "launcher/ranks": ["launcher/job"],
    "launcher/results": ["launcher/job", "launcher/megatron", "launcher/ranks"],
    "launcher/causes": ["launcher/ranks"],
    "launcher/gang": ["launcher/job", "launcher/megatron", "launcher/ranks", "launcher/results", "launcher/causes"],
    "launcher/torchrun": ["launcher/ranks", "launcher/causes", "launcher/gang"],
    "launcher/cli": ["launcher/job", "launcher/megatron", "launcher/ranks", "launcher/results", "launcher/causes",
                     "launcher/gang", "launcher/torchrun"],
}
FOLDERS = {
    "env": [],
    "rendezvous": ["env"],
    **{folder: [*below, "rendezvous", "env"] for folder, below in LAUNCHER.items()},
    "tests": ["env", "rendezvous", "launcher"],
}
HEAVY = re.compile(r"<(nlohmann/json\.hpp|yaml-cpp/|CLI/|spdlog/)")
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<][^">]+[">])', re.M)


def folder_of(path):
    """The entry of FOLDERS that a path from the root belongs to, or None."""
    return next((f for f in sorted(FOLDERS, key=len, reverse=True) if path.startswith(f + "/")), None)


def may_include(including, included):
    if included == including:
        return True
    return any(included == other or included.startswith(other + "/") for other in FOLDERS[including])


def offences_of(root, path):
    text = (root / path).read_text(encoding="utf-8")
    folder = folder_of(path)
    includes = [(text.count("\n", 0, m.start(1)) + 1, m.group(1)) for m in INCLUDE.finditer(text)]
    if path.endswith(".h") and not text.startswith("#pragma once"):
        yield f"{path}:1: a header begins with #pragma once"
    own = path[:-3] + ".h"
    if path.endswith(".cc") and (root / own).exists() and (not includes or includes[0][1] != f'"{own}"'):
        yield f"{path}:1: its own header, {own}, is included first"
    for line, name in includes:
        target = name[1:-1]
        if name == "<boost/asio.hpp>":
            yield f"{path}:{line}: include narrow Asio headers, never <boost/asio.hpp>"
        elif path.endswith(".h") and folder != "tests" and HEAVY.match(name):
            yield f"{path}:{line}: {name} is too heavy for a header; forward-declare, or hide it in the source"
        if name.startswith("<"):
            if folder_of(target) and (root / target).exists():
                yield f'{path}:{line}: the project\'s own header {name} belongs in quotes'
            continue
        if not (root / target).exists():
            yield f"{path}:{line}: no file {target}; include by path from the root of the tree"
        elif folder_of(target) is None or not may_include(folder, folder_of(target)):
            yield f"{path}:{line}: {folder}/ must not include {target}; see ARCHITECTURE.md for the direction"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    files = [p.relative_to(root).as_posix() for top in ("env", "rendezvous", "launcher", "tests")
             for p in sorted((root / top).rglob("*")) if p.suffix in (".h", ".cc", ".cpp", ".hpp")]
    offences = [f"{path}: in no folder that tests/check_includes.py knows" for path in files if not folder_of(path)]
    for path in files:
        if folder_of(path):
            offences += offences_of(root, path)
    print("\n".join(offences) if offences else f"{len(files)} files, all includes run one way")
    return 1 if offences or not files else 0


if __name__ == "__main__":
    sys.exit(main())
