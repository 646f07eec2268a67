#!/usr/bin/env python3
"""Tests of check_includes.py: each offence is found in a small tree, and a clean tree passes."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

CHECKER = Path(__file__).with_name("check_includes.py")
CLEAN = {
    "env/a.h": "#pragma once\n#include <string>\n",
    "env/a.cc": '#include "env/a.h"\n',
    "rendezvous/b.h": '#pragma once\n#include "env/a.h"\n',
    "launcher/cli/c.cc": '#include "rendezvous/b.h"\n',
    "tests/env/a_test.cc": '#include "env/a.h"\n',
}


class CheckIncludes(unittest.TestCase):
    def check(self, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**CLEAN, **changes}.items():
                (Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / path).write_text(text)
            run = subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True)
            return run.returncode, run.stdout

    def assert_offence(self, changes, words):
        code, output = self.check(changes)
        self.assertEqual(code, 1, output)
        self.assertIn(words, output)
        self.assertEqual(len(output.splitlines()), 1, output)

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.check({})[0], 0)

    def test_an_arrow_that_points_back_is_an_offence(self):
        self.assert_offence({"env/x.cc": '#include "rendezvous/b.h"\n'}, "env/x.cc:1: env/ must not include rendezvous/b.h")
        self.assert_offence({"launcher/gang/g.h": "#pragma once\n", "launcher/ranks/r.cc": '#include "launcher/gang/g.h"\n'},
                            "launcher/ranks/ must not include launcher/gang/g.h")
        self.assert_offence({"launcher/cli/x.cc": '\n#include "tests/lib/t.h"\n', "tests/lib/t.h": "#pragma once\n"},
                            "launcher/cli/x.cc:2")

    def test_a_header_must_exist_below_the_root(self):
        self.assert_offence({"env/x.cc": '#include "a.h"\n'}, "no file a.h")

    def test_a_source_includes_its_own_header_first(self):
        self.assert_offence({"env/a.cc": '#include <string>\n#include "env/a.h"\n'}, "env/a.h, is included first")

    def test_heavy_headers_are_offences(self):
        self.assert_offence({"env/x.cc": "#include <boost/asio.hpp>\n"}, "never <boost/asio.hpp>")
        self.assert_offence({"env/x.h": "#pragma once\n#include <nlohmann/json.hpp>\n"}, "too heavy for a header")

    def test_a_header_begins_with_pragma_once(self):
        self.assert_offence({"env/x.h": "#include <string>\n"}, "#pragma once")


if __name__ == "__main__":
    unittest.main()
