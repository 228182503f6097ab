"""Position ids of pictures, in batches whose documents all have the same length.

Models that see have three positions for each token, and verl keeps a fourth. When it gathers the documents of a batch, torch takes the first
dimension in which they differ for the ragged one; where they differ in none, that is the one of the four, and verl, which presumes it to
be the last, trips over it. Policies that write up to their limit, as untrained ones do, have such batches. Importing this module puts
a version in the place of verl's own mending function that looks.
"""

from __future__ import annotations

from typing import Any

import torch
from verl.utils import tensordict_utils


def mend_position_ids(data: Any) -> None:
    """Make the last dimension of three-dimensional position ids the ragged one, in place.

    Args:
        data: `TensorDict` with nested `input_ids` (B, T*) and `position_ids` (B, A, T*), ragged in any dimension.
    """
    positions = data.get("position_ids", None)
    if positions is None or positions.dim() != 3 or not positions.is_nested:
        return
    values, tokens = positions.values(), data["input_ids"].values().shape[0]
    if values.shape[-1] == tokens:
        positions._ragged_idx = 2  # pickling loses it
        return
    rows = data.batch_size[0]
    values_BAT = values.view(rows, -1, tokens // rows)
    data["position_ids"] = torch.nested.nested_tensor_from_jagged(
        values_BAT.transpose(0, 1).flatten(1), torch.arange(rows + 1) * (tokens // rows), jagged_dim=2
    )


# Other modules of verl take it from there when they are imported, later.
tensordict_utils.maybe_fix_3d_position_ids = mend_position_ids
