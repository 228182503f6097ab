"""The wheel, built and installed elsewhere, holds all that the package needs and steps the environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import json, sys, tempfile
from importlib import resources
from pathlib import Path

import gymnasium as gym

env = gym.make("llmi_env:LLMI-v0", config="rules", action_mode="chunk", render_mode="ansi")
import envs_configs, llmi_env, trainers
from llmi_env.config import load_config, preset_names

observation, info = env.reset(seed=0)
env.step("A sentence, and ")
_, reward, terminated, truncated, last = env.step("another one." + llmi_env.END)
env.close()
print(json.dumps({
    "homes": [str(Path(module.__file__).parent.parent) for module in (llmi_env, envs_configs, trainers)],
    "presets": [load_config(name).action_mode for name in preset_names()],
    "recipes": preset_names("train"),
    "assets": sorted(entry.name for entry in resources.files("llmi_env").joinpath("assets").iterdir()),
    "prompt": bool(observation["text"]),
    "end": [terminated, truncated, last["stop"], 0 <= reward <= 1],
    "torch": "torch" in sys.modules,
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel, which borrows the dependencies of this one but not this package."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False, symlinks=True)
    home = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(home), str(wheel)],
        check=True,
        timeout=300,
    )
    # Read after the folder itself, and without the .pth files in it, so an editable install of this package stays out of sight.
    (home / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder / "bin" / "python"


@pytest.mark.slow
def test_the_wheel_holds_presets_assets_and_type_marker(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name in (
        "envs_configs/rules.yaml",
        "envs_configs/offline.yaml",
        "envs_configs/rewards/llmi.yaml",
        "llmi_env/py.typed",
    ):
        assert name in names
    assert any(name.startswith("envs_configs/train/") for name in names)
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("which files belong to the package is read from git")
    tracked = subprocess.run(
        ["git", "ls-files", "llmi_env/assets", "llmi_env/judges/prompts", "envs_configs"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert set(tracked.stdout.split("\n")) - {""} <= names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


@pytest.mark.slow
def test_installed_elsewhere_it_steps_the_environment(python: Path, tmp_path: Path) -> None:
    ran = subprocess.run(
        [str(python), "-c", PROGRAM], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300
    )
    said = json.loads(ran.stdout.strip().splitlines()[-1])
    assert all(Path(home).is_relative_to(python.parent.parent) for home in said["homes"])
    assert said["end"] == [True, False, "end", True]
    assert said["prompt"]
    assert not said["torch"]
    assert {"tasks"} <= set(said["assets"])
    assert len(said["presets"]) >= 2
