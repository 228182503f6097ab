"""How configurations differ."""

from __future__ import annotations

from llmi_env.differences import differences


def test_every_difference_is_told_by_its_dotted_key() -> None:
    before = {"seed": 1, "env": {"limits": {"calls": 3}, "judges": [1]}, "gone": None, "extra": {}}
    now = {"env": {"limits": {"calls": 4, "pictures": 2}, "judges": [1]}, "seed": 1, "extra": {"top_k": 20}}
    assert [str(each) for each in differences(before, now)] == [
        "env.limits.calls: 3 then, 4 now",
        "env.limits.pictures: None then, 2 now",
        "extra: {} then, None now",
        "extra.top_k: None then, 20 now",
    ]
    assert list(differences(before, before)) == []
