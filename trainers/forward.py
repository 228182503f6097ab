"""Logprobs of responses under a model, with gradient, computing nothing twice.

Rollouts of a group share their prompt, and all prompts share the system prompt; on a CPU those tokens are half of the work. So the common
prefix is read once, then the rest of each distinct prompt, then the responses on top of the repeated cache; gradients flow back through it. The
output layer, a fifth of a small model, sees only positions whose next token is a response token.

Two ways lead there: the model's own modules, for any model; and `trainers.packed_llama`, in half the time, where it fits.

Axes: B sequences, U distinct prompts, T response tokens (padded on the right), N response tokens of all sequences, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmi_env.policies.engines import common_prefix, model_parts
from llmi_env.policies.logit_scale import scaled

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.head import Anchor


@dataclass(frozen=True)
class Scored:
    """What the model says about the responses.

    Attributes:
        logprobs_BT: logprob of each response token; 0 in the padding.
        padding_mask_BT: true where there is a token.
        hidden_BTH: the model's last hidden state from which each response token is predicted; anything in the padding.
        entropies_BT: entropy in nats of what each response token was drawn from, where it was wanted; 0 in the padding.
        divergences_BT: how far that is from the anchor, KL(model, anchor) in nats, where one was given; 0 in the padding.
    """

    logprobs_BT: Tensor
    padding_mask_BT: Tensor
    hidden_BTH: Tensor
    entropies_BT: Tensor | None = None
    divergences_BT: Tensor | None = None


@dataclass(frozen=True)
class Anchors:
    """What the model is to stay near.

    Attributes:
        hidden: (T, H) of each sequence, from which the anchor predicts its response tokens, by the same output layer.
        temperature: of the anchor.
    """

    hidden: Sequence[Tensor]
    temperature: float = 1.0

    def joined(self) -> Anchor:
        """The same for the tokens of all sequences, one after another."""
        import torch

        from trainers.head import Anchor

        return Anchor(torch.cat(list(self.hidden)), self.temperature)


def score_responses(
    model: Any,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    vocab_size: int,
    entropies: bool = False,
    anchors: Anchors | None = None,
) -> Scored:
    """Logprobs of `responses[b]` after `prompts[b]`.

    Args:
        model: a causal language model of `transformers`, with or without a LoRA adapter; its weights decide whether there is a gradient.
        prompts: ids, at least one each.
        responses: ids, at least one each.
        vocab_size: ids from here on cannot be drawn, whatever their logits.
        entropies: whether they are wanted.
        anchors: what divergences are wanted from.
    """
    import torch

    from trainers import head as fast_head
    from trainers.packed_llama import packed_llama

    _, head = model_parts(model)
    responses_BT, padding_mask_BT = _pad(responses, head.weight.device)
    # Where the tokens are, is known here: asking the device would be waiting for it.
    longest = responses_BT.shape[1]
    places = [row * longest + t for row, response in enumerate(responses) for t in range(len(response))]
    places_N = torch.tensor(places).to(head.weight.device)
    llama = packed_llama(model)
    if llama is None:
        before_BTH = _before_responses(model, prompts, responses_BT, padding_mask_BT)
    else:
        from trainers.prefixes import lay_out

        tokens = lay_out(prompts, responses)
        before_BTH = llama.hidden(tokens).index_select(0, tokens.before_BT.flatten()).view(*responses_BT.shape, -1)
    before_NH = scaled(model, before_BTH.flatten(0, 1).index_select(0, places_N))
    chosen_N = responses_BT.flatten().index_select(0, places_N)
    anchor = None if anchors is None else anchors.joined()
    told = fast_head.tell(before_NH, head, chosen_N, vocab_size, entropies, anchor)

    def spread(numbers_N: Tensor | None) -> Tensor | None:
        if numbers_N is None:
            return None
        zeros = torch.zeros(responses_BT.numel(), device=head.weight.device)
        return zeros.index_copy(0, places_N, numbers_N).view_as(responses_BT)

    logprobs_BT = spread(told.logprobs_N)
    assert logprobs_BT is not None
    return Scored(logprobs_BT, padding_mask_BT, before_BTH, spread(told.entropies_N), spread(told.divergences_N))


def _before_responses(
    model: Any, prompts: Sequence[Sequence[int]], responses_BT: Tensor, padding_mask_BT: Tensor
) -> Tensor:
    """(B, T, H) states that predict the response tokens, by the model's own modules."""
    import torch

    body, _ = model_parts(model)
    device = responses_BT.device
    unique = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
    rows_B = torch.tensor([unique.index(tuple(prompt)) for prompt in prompts], device=device)
    cache, last_UH, prompt_mask_US = _read_prompts(body, unique, device)

    cache.batch_select_indices(rows_B)
    positions_BT = prompt_mask_US.sum(-1)[rows_B][:, None] + torch.arange(responses_BT.shape[1], device=device)
    hidden_BTH = body(
        input_ids=responses_BT,
        attention_mask=torch.cat([prompt_mask_US[rows_B], padding_mask_BT.long()], dim=1),
        position_ids=positions_BT,
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    # The state that predicts token t stands one place before it: the first one is the prompt's last.
    return torch.cat([last_UH[rows_B][:, None], hidden_BTH[:, :-1]], dim=1)


def _read_prompts(body: Any, unique: Sequence[tuple[int, ...]], device: Any) -> tuple[Any, Tensor, Tensor]:
    """Cache of the prompts, hidden state of each one's last token (U, H), and where in the cache each has tokens (U, S)."""
    import torch
    from transformers import DynamicCache

    cache = DynamicCache()
    shared = common_prefix(unique) if len(unique) > 1 else 0
    if shared:
        body(input_ids=torch.tensor([unique[0][:shared]], device=device), past_key_values=cache, use_cache=True)
        cache.batch_select_indices(torch.zeros(len(unique), dtype=torch.long, device=device))
    rest_US, rest_mask_US = _pad([prompt[shared:] for prompt in unique], device)
    mask_US = torch.cat([torch.ones(len(unique), shared, dtype=torch.long, device=device), rest_mask_US.long()], dim=1)
    positions_US = shared + torch.arange(rest_US.shape[1], device=device).expand_as(rest_US)
    hidden_USH = body(
        input_ids=rest_US, attention_mask=mask_US, position_ids=positions_US, past_key_values=cache, use_cache=True
    ).last_hidden_state
    last_U = rest_mask_US.sum(-1) - 1
    return cache, hidden_USH[torch.arange(len(unique), device=device), last_U], mask_US


def _pad(sequences: Sequence[Sequence[int]], device: Any) -> tuple[Tensor, Tensor]:
    """Ids padded on the right with 0, and the mask of what is real."""
    import torch

    longest = max(map(len, sequences))
    ids = torch.tensor([[*sequence, *[0] * (longest - len(sequence))] for sequence in sequences])
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return ids.to(device), (torch.arange(longest) < lengths[:, None]).to(device)
