"""The loop: queue → place → assume → bind. One pass is testable alone; threads and signals are in ``loop``.

May import everything of the engine but ``engine.cli``.
"""

from engine.scheduler.inbox import DelaysChanged, PlanChanged
from engine.scheduler.queue import SchedulingQueue
from engine.scheduler.scheduler import Scheduler
from engine.scheduler.telling import Observer

__all__ = ["DelaysChanged", "Observer", "PlanChanged", "Scheduler", "SchedulingQueue"]
