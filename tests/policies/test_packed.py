"""Packed weights give the products that plain ones give, for any number of rows."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from llmi_env.policies import packed as module  # noqa: E402
from llmi_env.policies.packed import packed  # noqa: E402


@pytest.mark.parametrize("rows", [1, 3, 16, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_product_is_the_plain_one(rows: int, dtype: object) -> None:
    weight, x = torch.randn(40, 24).to(dtype), torch.randn(2, rows, 24).to(dtype)
    torch.testing.assert_close(packed(weight)(x), x @ weight.T)
    torch.testing.assert_close(packed(weight.T.contiguous().T)(x), x @ weight.T)  # however the weight lies in memory


@pytest.mark.parametrize("supported", [True, False])
@pytest.mark.parametrize("rows", [1, 16, 200])
def test_rounded_products(rows: int, supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not supported:
        monkeypatch.setattr(module, "multiplies_bfloat16", lambda: False)
    weight, x = torch.randn(40, 24), torch.randn(2, rows, 24)
    found = packed(weight, bfloat16=True)(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, x.bfloat16().float() @ weight.bfloat16().float().T, atol=0.05, rtol=0.01)
    assert not torch.equal(found, x @ weight.T)


def test_parts_are_rounded_one_by_one() -> None:
    head, other = (torch.nn.Linear(8, 20, bias=False).requires_grad_(False) for _ in range(2))
    module.round_products(head)
    x = torch.randn(3, 8)
    assert (module.in_bfloat16(head), module.in_bfloat16(other)) == (True, False)
    assert not torch.equal(module.packed_head(head, 20)(x), head(x))
    torch.testing.assert_close(module.packed_head(head, 20)(x), head(x), atol=0.05, rtol=0.01)
    torch.testing.assert_close(module.packed_head(other, 20)(x), other(x))


def test_the_weight_is_copied() -> None:
    weight, x = torch.randn(8, 8), torch.randn(2, 8)
    product = packed(weight)
    before = product(x)
    weight.zero_()
    torch.testing.assert_close(product(x), before)


def test_without_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_has_onednn", lambda: False)
    weight, x = torch.randn(8, 8), torch.randn(2, 8)
    assert torch.equal(packed(weight)(x), torch.nn.functional.linear(x, weight))


def test_the_installed_torch_has_it() -> None:
    """Without it everything works and is slow: better to learn of it here."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("a torch without oneDNN")
    assert module._has_onednn()


def test_an_output_layer_is_packed_once_until_it_changes() -> None:
    head = torch.nn.Linear(8, 20, bias=False).requires_grad_(False)
    x = torch.randn(3, 8)
    first = module.packed_head(head, 12)
    assert module.packed_head(head, 12) is first
    torch.testing.assert_close(first(x), head(x)[:, :12])
    head.weight.mul_(2)
    torch.testing.assert_close(module.packed_head(head, 12)(x), head(x)[:, :12])
    torch.testing.assert_close(module.packed_head(head, 20)(x), head(x))
