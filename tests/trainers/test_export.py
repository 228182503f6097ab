from __future__ import annotations

from pathlib import Path

import pytest

from llmi_env.errors import CheckpointError, ConfigError
from tests.tiny_policy import make_tiny_policy
from trainers.export import export_policy, verl_checkpoint

pytest.importorskip("transformers", reason="transformers is not installed: pip install 'llmi-env[train]'")


def test_an_adapter_is_merged(tmp_path: Path) -> None:
    import torch

    from llmi_env.models import load_model
    from trainers.sft import add_lora

    base = make_tiny_policy(tmp_path / "base")
    model, _ = load_model(base)
    model = add_lora(model, 4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(str(tmp_path / "adapter"))
    out = export_policy(tmp_path / "adapter", tmp_path / "there" / "whole")
    assert not (out / "adapter_config.json").exists()
    whole, tokenizer = load_model(out)
    ids = torch.tensor([tokenizer.encode("Owls hunt at night.")])
    with torch.inference_mode():
        torch.testing.assert_close(whole(ids).logits, model.eval()(ids).logits, atol=1e-4, rtol=1e-4)
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["whole"]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there already"):
        export_policy("warm-start", tmp_path)
    with pytest.raises(ConfigError, match="no policy"):
        export_policy(tmp_path / "missing", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_of_verl_are_found(tmp_path: Path) -> None:
    import torch

    run = tmp_path / "run"
    step = run / "checkpoints" / "global_step_7"
    (step / "actor").mkdir(parents=True)
    assert verl_checkpoint(run) is None
    for name in ("data.pt", "actor/model_world_size_1_rank_0.pt"):
        torch.save({}, step / name)
    assert verl_checkpoint(run) == verl_checkpoint(step) == step
    pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        export_policy(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
