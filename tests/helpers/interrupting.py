"""Runs that a signal ends at a stated place."""


def interrupt_at(trainer, call, n):
    """Signal the run in the n-th call of one of its methods."""
    original, seen = getattr(trainer, call), {"calls": 0}

    def counting(*arguments):
        seen["calls"] += 1
        if seen["calls"] == n:
            trainer.interruption.signal_number = 15
        return original(*arguments)

    setattr(trainer, call, counting)
