"""Logprobs of responses, each sequence read whole: where nothing can be shared.

`trainers.forward` reads the prompt of a group once and puts responses on top of its cache. Two things do not go with a cache: gradient
checkpointing, which computes layers a second time, and pictures, whose features stand in the prompt or between the policy's own tokens.

Axes: B sequences, S tokens of prompt and response, T response tokens (both padded on the right), N response tokens of all, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmi_env.policies.engines import model_parts
from llmi_env.policies.logit_scale import scaled
from trainers.forward import Anchors, Scored

if TYPE_CHECKING:
    from torch import Tensor

    from llmi_env.ledger import Ledger
    from llmi_env.policies.vision import Eyes


def score_whole(
    model: Any,
    ledgers: Sequence[Ledger],
    vocab_size: int,
    eyes: Eyes | None = None,
    entropies: bool = False,
    anchors: Anchors | None = None,
) -> Scored:
    """Logprobs of what follows the prompts, as `trainers.forward.score_responses` gives them.

    Args:
        model: a causal language model of `transformers`, or with eyes a vision-language model, with or without a LoRA adapter.
        ledgers: with at least one token after the prompt each; pictures are read off them.
        vocab_size: ids from here on cannot be drawn.
        eyes: the model's processor. Placeholders cannot be drawn either; where they stand in a response, their logprob is given as 0.
        entropies: whether they are wanted.
        anchors: what divergences are wanted from.
    """
    import torch

    from trainers import head as fast_head

    body, head = model_parts(model)
    device = head.weight.device
    ids_BS = torch.nn.utils.rnn.pad_sequence([torch.tensor(x.ids) for x in ledgers], batch_first=True).to(device)
    lengths_B = torch.tensor([len(x) for x in ledgers], device=device)
    begins_B = torch.tensor([x.prompt_length for x in ledgers], device=device)
    mask_BS = torch.arange(ids_BS.shape[1], device=device) < lengths_B[:, None]
    more = {} if eyes is None else _pictures(ledgers, ids_BS, eyes)
    hidden_BSH = body(input_ids=ids_BS, attention_mask=mask_BS.long(), use_cache=False, **more).last_hidden_state

    places_BT = begins_B[:, None] + torch.arange(int((lengths_B - begins_B).max()), device=device)
    padding_mask_BT = places_BT < lengths_B[:, None]
    places_BT = places_BT.clamp(max=ids_BS.shape[1] - 1)
    # The state that predicts token t stands one place before it.
    before_BTH = hidden_BSH[torch.arange(len(ledgers), device=device)[:, None], places_BT - 1]
    before_NH, chosen_N = scaled(model, before_BTH[padding_mask_BT]), ids_BS.gather(1, places_BT)[padding_mask_BT]
    barred = None if eyes is None else torch.tensor(eyes.hidden_ids, dtype=torch.long, device=device)
    anchor = None if anchors is None else anchors.joined()
    told = fast_head.tell(before_NH, head, chosen_N, vocab_size, entropies, anchor, barred)
    logprobs_N = told.logprobs_N
    if barred is not None:
        # Of a placeholder not infinite: that would make NaN of its gradient.
        logprobs_N = logprobs_N.masked_fill(torch.isin(chosen_N, barred), 0.0)
    zeros_BT = torch.zeros(padding_mask_BT.shape, device=device)

    def spread(numbers_N: Tensor | None) -> Tensor | None:
        return None if numbers_N is None else zeros_BT.masked_scatter(padding_mask_BT, numbers_N)

    return Scored(
        zeros_BT.masked_scatter(padding_mask_BT, logprobs_N),
        padding_mask_BT,
        before_BTH,
        spread(told.entropies_N),
        spread(told.divergences_N),
    )


def _pictures(ledgers: Sequence[Ledger], ids_BS: Tensor, eyes: Eyes) -> dict[str, Any]:
    """Pixels of all pictures, ledger by ledger in the order of their placeholders, and which tokens are placeholders."""
    pictures = [picture for ledger in ledgers for _, _, picture in ledger.pictures]
    if not pictures:
        return {}
    inputs = {name: tensor.to(ids_BS.device) for name, tensor in eyes.inputs(pictures).items()}
    return {**inputs, "mm_token_type_ids": (ids_BS == eyes.placeholder).int()}
