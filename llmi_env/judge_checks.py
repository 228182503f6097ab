"""Whether judges can be what a configuration says, and whether they score what the reward needs: told before anything is written.

First without a World, from what judges that ship declare (`check_judges`): that loads no model, needs no key, and does for `gym.make`. Where
this leaves something open, as the World is elsewhere or a judge is the user's own, a World is asked (`ask_judges`): it makes its judges, which
load their models with the first document only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llmi_env.errors import ConfigError, did_you_mean
from llmi_env.judges.making import Entry, declared_terms, tell_stand_ins
from llmi_env.rewards.hybrid import HybridReward
from llmi_env.rewards.preset import RULE_TERMS
from llmi_env.world import Place, connect
from llmi_env.world.config import WorldConfig
from llmi_env.world.protocol import TellingWorld, World


def check_judges(where: str | World, judges: Sequence[Entry], reward: HybridReward) -> bool:
    """Look through judges and reward without making anything.

    Args:
        where: the World; one that is elsewhere has judges of its own, and of these here the options alone are looked at.
        judges: as in `WorldConfig.judges`, or objects.
        reward: whose terms they are to score.

    Returns:
        Whether all is known to be well; false where the World must be asked.

    Raises:
        ConfigError: options that a judge cannot take, or a term of the reward that nothing scores; says what was perhaps meant.
    """
    told = [(_name(entry), declared_terms(entry)) for entry in judges]
    if not isinstance(where, str) or not Place.parse(where).is_here:
        return not reward.judged_terms
    known = [(name, terms) for name, terms in told if terms is not None]
    tell_stand_ins(known)
    if len(known) < len(told):
        return not reward.judged_terms
    check_terms(reward, [term for _, terms in known for term in terms])
    return True


async def ask_judges(where: str, services: WorldConfig, reward: HybridReward) -> None:
    """The same, and what is left open is asked of the World, which is opened for it where it has to be.

    Raises:
        ConfigError: as `check_judges`.
        MissingExtra, AssetError, WorldError: a judge cannot be made, or the World cannot be reached.
    """
    if check_judges(where, services.judges, reward):
        return
    world = connect(where, services)
    try:
        assert isinstance(world, TellingWorld)  # all that have a name are
        check_terms(reward, await world.terms())
    finally:
        await world.aclose()


def check_terms(reward: HybridReward, scored: Iterable[str]) -> None:
    """Raise `ConfigError` where the reward needs a term that is neither a rule, nor the user's own, nor among those that judges score."""
    known = tuple(dict.fromkeys(scored))
    if reward.judged_terms and not known:
        raise ConfigError(
            f"reward {reward.name!r} needs judges ({', '.join(reward.judged_terms)}), and none is configured: take reward='rules', "
            "config='offline', or give judges=[...]; no document would have a score"
        )
    for term in reward.judged_terms:
        if term not in known:
            raise ConfigError(
                f"reward {reward.name!r}: nothing scores the term {term!r}{did_you_mean(term, (*known, *RULE_TERMS))}. A term is a rule of the "
                "package, one of your own (with `use`), or what a configured judge names among its `terms`; no document would have a score"
            )


def _name(entry: Entry) -> str:
    if isinstance(entry, str):
        return entry
    return str(entry.get("use")) if isinstance(entry, Mapping) else type(entry).__name__
