"""The words of a corpus: what the index needs of its library, and what it keeps it from."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "loaded":
    import jax.lax
from llmi_env.tools.corpus_words import Words
words = Words.build([["red", "apple"], ["blue", "car"]])
assert words.shares(["apple"]).argmax() == 0
assert ("jax.lax" in sys.modules) == (sys.argv[2] == "loaded")
import jax.lax
print(jax.lax.top_k([3], 1))
"""


def test_jax_is_not_started_and_not_harmed(tmp_path: Path) -> None:
    # A stand-in that says when it is used: the real one takes most of a GPU's memory as soon as it computes.
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax/__init__.py").touch()
    (tmp_path / "jax/lax.py").write_text("def top_k(scores, k):\n    print('started')\n    return 'theirs'\n")
    for when in ("absent", "loaded"):
        command = [sys.executable, "-c", _PROGRAM, str(tmp_path), when]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["started", "theirs"], "started once, by the user's own call"
