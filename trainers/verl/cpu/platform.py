"""The CPU as a platform of verl. Never detected, only chosen by `VERL_PLATFORM=cpu`.

Ray is told of as many GPUs as there are workers (`ray_kwargs.ray_init.num_gpus`): verl reserves its workers by that resource alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
import torch.distributed as dist
from verl.plugin.platform import PlatformBase, PlatformRegistry


def _cpu_module() -> ModuleType:
    """`torch.cpu` with what verl asks of `torch.cuda` besides: no memory of its own, the process's random state."""
    module = ModuleType("torch_cpu_for_verl", "torch.cpu with the calls that verl makes on torch.cuda")
    module.__dict__.update({name: value for name, value in vars(torch.cpu).items() if not name.startswith("__")})

    def nothing(*_: Any, **__: Any) -> None: ...

    def zero(*_: Any, **__: Any) -> int:
        return 0

    module.__dict__.update(
        is_available=lambda: False,  # as an accelerator
        get_device_name=lambda *_: "CPU",
        mem_get_info=lambda *_: (1, 1),  # free and all: verl divides by the second
        **dict.fromkeys(
            ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"),
            zero,
        ),
        **dict.fromkeys(("empty_cache", "ipc_collect", "reset_peak_memory_stats"), nothing),
        manual_seed=torch.manual_seed,
        manual_seed_all=torch.manual_seed,
        get_rng_state=lambda *_: torch.get_rng_state(),
        set_rng_state=lambda state, *_: torch.set_rng_state(state),
    )
    return module


_MODULE = _cpu_module()


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    """One CPU worker is one device."""

    @property
    def device_name(self) -> str:
        """Type of the device in torch."""
        return "cpu"

    @property
    def vendor_name(self) -> str:
        """No vendor has engines of its own."""
        return "cpu"

    @property
    def device_module(self) -> ModuleType:
        """What stands for `torch.cuda`."""
        return _MODULE

    def is_available(self) -> bool:
        """Always."""
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        """Never found by looking: a machine with a GPU has a CPU too."""
        return False

    def current_device(self) -> Any:
        """The device's name and not a number: verl passes this to `Tensor.to`, where a number means an accelerator."""
        return "cpu"

    def device_count(self) -> int:
        """One for each process."""
        return 1

    def set_device(self, device_index: int) -> None:
        """There is no choice."""

    def synchronize(self, device_index: int | None = None) -> None:
        """Nothing runs beside the process."""

    def manual_seed(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        """Seed torch."""
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        """The C library's allocator has none."""

    def empty_cache(self) -> None:
        """There is no cache."""

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        """Of CUDA: none."""
        return None, None

    def communication_backend_name(self) -> str:
        """gloo; in a worker of verl, makes the process group first.

        verl asks for this name just before it makes the group "cpu:gloo,<device>:<name>", which torch refuses when the device is the CPU
        too; it makes none where there is one.
        """
        in_worker = all(name in os.environ for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"))
        if in_worker and not dist.is_initialized():
            dist.init_process_group(
                "gloo",
                rank=int(os.environ["RANK"]),
                world_size=int(os.environ["WORLD_SIZE"]),
                init_method=os.environ.get("DIST_INIT_METHOD"),
            )
        return "gloo"

    def visible_devices_envvar(self) -> str:
        """Ray's name for the devices of a worker."""
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        """Nothing to mark."""
        yield

    def profiler_start(self) -> None:
        """There is no profiler."""

    def profiler_stop(self) -> None:
        """There is no profiler."""

    def ray_resource_name(self) -> str:
        """verl counts no other resource than GPUs and NPUs when it reserves workers."""
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        """None."""
        return []

    def is_ipc_supported(self) -> bool:
        """Weights go through Ray."""
        return False

    def cudart(self) -> None:
        """There is none."""
