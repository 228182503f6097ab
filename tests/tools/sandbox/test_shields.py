"""The test of the tests: with its protection switched off, each attack is noticed, so that a test which passes says something.

Protections are switched off one set at a time in the worker's own program, and the attack suite is run on it: every test that is named for
the set must fail. It is run in a container, so that what gets through reaches nothing but the container.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.tools.sandbox.conftest import OPEN, Draw
from tests.tools.sandbox.test_attacks import CLEAN, POISONS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("code")]

ROOT = Path(__file__).parents[3]
SHIELDS = {
    # A container has a root of its own: only its own files are open without Landlock.
    "landlock": ["cannot_read_the_system and (passwd or hostname or cmdline)", "cannot_list_folders and (etc or proc)"],
    # Programs and shells are not in the image, and process 1 of a container cannot be killed from within.
    "seccomp,limits": [
        "cannot_start_anything and (threading or memfd or ThreadPool or multiprocessing)",
        "cannot_reach_the_network",
        "cannot_reach_its_worker and (prctl or sched_setaffinity)",
    ],
    # Signals to others are stopped twice.
    "landlock,seccomp,limits": ["cannot_reach_its_worker and getppid and SIGKILL"],
    "limits": ["a_limit_is_named and (ones or long_string)", "unlinked_files"],
    "deadline,limits": ["a_limit_is_named and asleep"],
    "quota": ["a_limit_is_named and (many_files or deep or locked)"],
    "caps": ["a_limit_is_named and print"],
    "pixels": ["a_limit_is_named and large"],
    "cleaning": ["another_call_left"],
    "environment": ["environment_or_descriptors"],
    "descriptors": ["environment_or_descriptors"],
}
"""Switched-off protections, and expressions (`pytest -k`) of tests that all must fail without them."""


def test_what_one_call_poisons_the_next_would_feel() -> None:
    """Without a fork for each call: both in one process, and the clean chart is another or none."""
    program = """
import sys
from llmi_env.tools.code.inside import drawing
drawing.warm_up(False)
def draw(source):
    return drawing.answer_to(source.encode(), seed=1, dpi=100.0, max_pixels=10**6)
before = draw(sys.argv[2])
assert draw(sys.argv[2]) == before
draw(sys.argv[1])
sys.exit(0 if draw(sys.argv[2]) == before else 9)
"""
    felt = []
    for poison in POISONS:
        ran = subprocess.run([sys.executable, "-c", program, poison, CLEAN], cwd=ROOT, capture_output=True, timeout=120)
        felt.append(ran.returncode != 0)
    assert sum(felt) >= 6, dict(zip(POISONS, felt, strict=True))


@pytest.mark.parametrize("shields", SHIELDS)
def test_without_its_protection_an_attack_is_noticed(shields: str, in_docker: Draw, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
        str(Path(__file__).with_name("test_attacks.py")),
        "-k", f"docker and ({' or '.join(f'({tests})' for tests in SHIELDS[shields])})",
    ]  # fmt: skip
    ran = subprocess.run(
        command, env=os.environ | {OPEN: shields}, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    assert cases, ran.stdout
    passed = [str(case.get("name")) for case in cases if case.find("failure") is None]
    assert not passed, f"these notice nothing when {shields} is off: {passed}\n{ran.stdout[-3000:]}"
