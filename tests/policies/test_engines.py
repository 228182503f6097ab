"""The two engines must agree with the model itself, whatever happens to the rows on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from llmi_env.policies.engines import LlamaEngine, ModelEngine, common_prefix, make_engine  # noqa: E402

VOCAB = 300


def tiny_llama(lora: bool = False) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=36,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=6,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    if lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
        )
        model.eval()
    return model


def by_the_model(model: Any, sequence: Sequence[int]) -> Any:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([list(sequence)])).logits[0, -1]


PROMPTS = [[7, 8, 9, 10, 11], [7, 8, 9, 40], [7, 8, 9, 10, 11], [7, 8, 60, 61, 62, 63, 64]]


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("engine_class", [ModelEngine, LlamaEngine])
def test_logits_are_the_models_own(engine_class: type, lora: bool) -> None:
    model = tiny_llama(lora)
    engine = engine_class(model, VOCAB)
    sequences = [list(prompt) for prompt in PROMPTS]
    logits = engine.start(PROMPTS, 3)  # less room than is needed: the cache must grow

    def check(rows: Sequence[int]) -> None:
        for row in rows:
            torch.testing.assert_close(logits[row], by_the_model(model, sequences[row]), atol=1e-5, rtol=1e-4)

    check(range(4))
    for step in range(6):
        tokens = [100 + step * 5 + row for row in range(4)]
        moves = [not (row == 1 and step in (1, 2)) for row in range(4)]
        logits = engine.step(tokens, moves)
        for row in range(4):
            if moves[row]:
                sequences[row].append(tokens[row])
        check([row for row in range(4) if moves[row]])
    engine.keep([3, 1])
    sequences = [sequences[3], sequences[1]]
    logits = engine.step([5, 6], [True, True])
    sequences[0].append(5)
    sequences[1].append(6)
    check(range(2))


def test_shared_prompts_and_prefixes_are_computed_once() -> None:
    engine = LlamaEngine(tiny_llama(), VOCAB)
    engine.start(PROMPTS, 1)
    assert engine.prompt_tokens == 2 + (3 + 2 + 5)
    engine.start([PROMPTS[0]] * 8, 1)
    assert engine.prompt_tokens == 5


def test_common_prefix_leaves_one_token_to_every_prompt() -> None:
    assert common_prefix([[1, 2, 3], [1, 2]]) == 1
    assert common_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert common_prefix([[5], [6]]) == 0


def test_the_fast_engine_is_taken_only_where_it_fits() -> None:
    assert isinstance(make_engine(tiny_llama(), VOCAB), LlamaEngine)
    from transformers import Qwen2Config, Qwen2ForCausalLM

    other = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=VOCAB, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
                    num_key_value_heads=1)
    )  # fmt: skip
    assert isinstance(make_engine(other, VOCAB), ModelEngine)


def test_the_engine_keeps_the_weights_that_it_was_made_with() -> None:
    model = tiny_llama(lora=True)
    engine = LlamaEngine(model, VOCAB)
    before = engine.start(PROMPTS, 1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter += 1.0
    assert torch.equal(before, engine.start(PROMPTS, 1))
    assert not torch.allclose(before, LlamaEngine(model, VOCAB).start(PROMPTS, 1))
