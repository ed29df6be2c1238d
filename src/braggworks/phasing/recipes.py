"""From a configuration to what iterative phase retrieval is told."""

from __future__ import annotations

from dataclasses import replace

from braggworks.config import PhasingConfig
from braggworks.phasing.schedule import Coherence, Schedule, SupportRule, refinement, standard

_SMOOTHING_CYCLES = 600


def schedules_of(config: PhasingConfig, *, gpu: bool = False) -> tuple[Schedule, ...]:
    """Return the steps of a method's starts, which take them in turn; parameters are those of `schedule_of`."""
    each = [config.model_copy(update={"refine_hio": (cycles,)}) for cycles in config.refine_hio]
    return tuple(schedule_of(one, gpu=gpu) for one in each)


def schedule_of(config: PhasingConfig, *, gpu: bool = False) -> Schedule:
    """Return the steps of a method's first start.

    Parameters
    ----------
    config
        The method and its cycles.
    gpu
        Whether PyNX has a GPU: its backend for processors knows no partial coherence.
    """
    if config.method == "rsp+er":
        schedule = refinement(config.er, config.refine_hio[0])
        begin = config.refine_hio[0] or config.er // 3
    else:
        rule = SupportRule(
            threshold=config.support_threshold,
            smooth_px=(*config.support_smooth_px, _SMOOTHING_CYCLES),
            period=config.support_period,
            border_px=config.support_border_px,
            expand_px=config.support_expand_px,
        )
        schedule = standard(config.hio, config.raar, config.er, rule, detwin=config.detwin)
        begin = config.hio + config.detwin
    known = config.coherence and (config.method != "pynx" or gpu)
    return replace(schedule, coherence=Coherence(period=schedule.support.period, begin=begin) if known else None)
