"""What the CPU part takes from verl without being offered it, point by point: fails, and says where to look, when verl changes it."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed: pip install 'llmi-env[verl]'")

import torch
import torch.distributed as dist
import verl
from tensordict import TensorDict
from verl.plugin.platform import PlatformRegistry
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.utils import distributed, tensordict_utils
from verl.workers import engine_workers
from verl.workers.engine import EngineRegistry
from verl.workers.engine import base as engine_base
from verl.workers.engine.fsdp.transformer_impl import FSDPEngine, FSDPEngineWithLMHead, FSDPEngineWithValueHead
from verl.workers.rollout import base
from verl.workers.rollout.base import BaseRollout, get_rollout_class
from verl.workers.rollout.replica import RolloutReplica, get_rollout_replica_class

from llmi_env.errors import ConfigError, MissingExtra
from trainers.verl import plugin
from trainers.verl.cpu import engines, platform, positions, rollout

SINCE = f"verl {verl.__version__} differs from the version that trainers/verl/cpu was written for"


# ------------------------------------------------------------------------------------------------------------- registrations


def test_importing_the_plugin_registers_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERL_PLATFORM", "cpu")
    plugin.load()
    assert PlatformRegistry.get("cpu") is platform.PlatformCPU
    assert get_rollout_replica_class("hf") is rollout.HFReplica
    assert get_rollout_class("hf") is rollout.HFServerAdapter
    monkeypatch.setenv("VERL_ENGINE_DEVICE", "cpu")
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is engines.CPULanguageEngine
    assert EngineRegistry.get_engine_cls("value_model", "fsdp2") is engines.CPUValueEngine
    assert "llmi_grpo" in ADV_ESTIMATOR_REGISTRY


def test_the_platform_has_all_that_verl_asks_of_one() -> None:
    missing = platform.PlatformCPU.__abstractmethods__
    assert not missing, f"{SINCE}: platforms must have {sorted(missing)} too (trainers/verl/cpu/platform.py)"


def test_the_platform_is_chosen_and_never_found() -> None:
    assert not platform.PlatformCPU().is_platform_available(use_smi_check=True)


# ------------------------------------------------------------------------------------------------------------------- version


@pytest.mark.parametrize("installed", ["0.9.1", "0.9.4", "0.9.2.post1"])
def test_tested_versions_pass(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(plugin, "version", lambda name: installed)
    plugin.check_version()


@pytest.mark.parametrize("installed", ["0.9.0", "0.8.3", "0.10.0", "1.0", "unknown"])
def test_other_versions_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(plugin, "version", lambda name: installed)
    with pytest.raises(
        ConfigError, match=rf"verl {installed} is installed.*0\.9\.x.*pip install 'verl>=0\.9\.1,<0\.10'"
    ):
        plugin.check_version()


def test_a_missing_verl_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise plugin.PackageNotFoundError(name)

    monkeypatch.setattr(plugin, "version", none)
    with pytest.raises(MissingExtra, match=r"llmi-env\[verl\]"):
        plugin.check_version()


def test_beside_trl_verl_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"verl": "0.9.1", "trl": "1.16.0"}
    monkeypatch.setattr(plugin, "version", versions.__getitem__)
    monkeypatch.setattr(plugin, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match=r"TRL 1\.16\.0 is installed: pip uninstall trl"):
        plugin.check_version()


# ----------------------------------------------------------------------------------------------------------- private touches


def test_rollout_adapters_are_looked_up_in_the_private_table() -> None:
    table = getattr(base, "_ROLLOUT_REGISTRY", None)
    assert isinstance(table, dict), (
        f"{SINCE}: _ROLLOUT_REGISTRY is gone; register HFServerAdapter another way (rollout.py)"
    )
    known = {key: path for key, path in table.items() if key[0] != rollout.NAME}
    assert all(mode == "async" and isinstance(path, str) for (_, mode), path in known.items()), (
        f"{SINCE}: _ROLLOUT_REGISTRY holds {known}, no longer (name, 'async') -> path of a class (rollout.py)"
    )


@pytest.fixture
def worker_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What verl sets in the environment of a worker."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": 0, "WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("DIST_INIT_METHOD", raising=False)
    yield
    if dist.is_initialized():
        dist.destroy_process_group()


def test_verl_asks_for_the_backend_before_it_makes_the_process_group(
    monkeypatch: pytest.MonkeyPatch, worker_environment: None
) -> None:
    cpu = platform.PlatformCPU()
    for name, answer in (("get_nccl_backend", cpu.communication_backend_name), ("get_device_name", lambda: "cpu")):
        assert hasattr(distributed, name), f"{SINCE}: verl.utils.distributed has no {name} (platform.py)"
        monkeypatch.setattr(distributed, name, answer)
    try:
        distributed.initialize_global_process_group_ray()
    except ValueError as error:
        pytest.fail(f"{SINCE}: it makes the group before it asks the platform for its backend (platform.py): {error}")
    assert dist.get_backend() == "gloo"


def test_outside_of_a_worker_no_process_group_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert platform.PlatformCPU().communication_backend_name() == "gloo"
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (FSDPEngine, "_build_fsdp_module", ["self", "module"]),
        (FSDPEngine, "_build_module", ["self"]),
        (FSDPEngine, "_merged_lora_per_tensor_param", ["self"]),
        (RolloutReplica, "launch_servers", ["self"]),
        (BaseRollout, "update_weights", ["self", "weights", "wire_format", "kwargs"]),
        (BaseRollout, "resume", ["self", "tags"]),
        (BaseRollout, "release", ["self"]),
    ],
)
def test_methods_that_are_overridden_are_called_as_before(owner: type, name: str, parameters: list[str]) -> None:
    method = getattr(owner, name, None)
    assert method is not None, (
        f"{SINCE}: {owner.__name__}.{name} is gone; what trainers/verl/cpu overrides no longer runs"
    )
    found = list(inspect.signature(method).parameters)
    assert found == parameters, f"{SINCE}: {owner.__name__}.{name} takes {found}, not {parameters}"


def test_forward_only_and_offload_policy_mean_offloading_and_nothing_else() -> None:
    source = inspect.getsource(FSDPEngine._build_fsdp_module)
    uses = source.count("engine_config.forward_only"), source.count("engine_config.offload_policy")
    assert uses == (2, 1), (
        f"{SINCE}: FSDPEngine._build_fsdp_module reads forward_only and offload_policy {uses} times, not (2, 1): see whether it is still "
        "right to hide them from it (engines.py)"
    )


def _row(length: int, start: int) -> torch.Tensor:
    """Position ids of one document, four for each token."""
    return torch.arange(4 * length).view(4, length) + start


@pytest.mark.parametrize("lengths", [[5, 5, 5], [5, 6, 3], [4], [4, 4, 4, 4]])
@pytest.mark.parametrize("pickled", [False, True])
def test_position_ids_of_pictures_come_out_row_by_row(lengths: list[int], pickled: bool) -> None:
    rows = [_row(length, 100 * i) for i, length in enumerate(lengths)]
    nested = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
    if pickled:
        nested._ragged_idx = 1
    ids = torch.nested.as_nested_tensor([torch.arange(length) for length in lengths], layout=torch.jagged)
    data = TensorDict({"input_ids": ids, "position_ids": nested}, batch_size=len(rows))
    positions.mend_position_ids(data)
    found = data["position_ids"]
    assert found._ragged_idx == 2
    offsets = found.offsets().tolist()
    assert [found.values()[:, start:end].tolist() for start, end in pairwise(offsets)] == [row.tolist() for row in rows]


def test_verl_mends_position_ids_in_one_function() -> None:
    assert tensordict_utils.maybe_fix_3d_position_ids is positions.mend_position_ids
    source = inspect.getsource(engine_workers) + inspect.getsource(engine_base)
    assert source.count("maybe_fix_3d_position_ids(") >= 4, (
        f"{SINCE}: it no longer calls maybe_fix_3d_position_ids where batches come in (positions.py)"
    )


def test_torch_still_takes_the_wrong_dimension_for_the_ragged_one() -> None:
    nested = torch.nested.as_nested_tensor([_row(5, 0), _row(5, 1)], layout=torch.jagged)
    assert nested._ragged_idx == 1, (
        "documents of equal length are nested rightly now: trainers/verl/cpu/positions.py may go"
    )


def test_servers_have_every_method_that_a_replica_calls() -> None:
    source = inspect.getsource(RolloutReplica)
    called = {part.split(".remote(")[0] for part in source.split("server.")[1:] if ".remote(" in part.split("\n")[0]}
    missing = {name for name in called if not hasattr(rollout.HFServer, name)}
    assert called, f"{SINCE}: RolloutReplica calls its servers in another way (rollout.py)"
    assert not missing, f"{SINCE}: HFServer needs {sorted(missing)} (rollout.py)"


# ------------------------------------------------------------------------------------------------------------ all of it at work

_SCRIPT = Path(__file__).with_name("engines_on_cpu.py")


@pytest.mark.slow
def test_engines_on_the_cpu_agree_with_the_server(tmp_path: Path, worker_environment: None) -> None:
    variables = {"VERL_PLATFORM": "cpu", "VERL_USE_EXTERNAL_MODULES": "trainers.verl.plugin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(tmp_path)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["engines"] == {
        "policy": "CPULanguageEngine",
        "reference": "CPULanguageEngine",
        "critic": "CPUValueEngine",
    }
    assert found["pinned"] == [], "a model was put under a policy that offloads into pinned memory"
    assert found["logprobs"] < 1e-4
    assert found["reference"] < 1e-4
    assert found["values_shape"] == found["tokens_shape"]


def test_the_engines_are_verls_own() -> None:
    assert issubclass(engines.CPULanguageEngine, FSDPEngineWithLMHead)
    assert issubclass(engines.CPUValueEngine, FSDPEngineWithValueHead)
