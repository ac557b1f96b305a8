"""May it land: snapshots of runs kept as baselines, changes with their intervals, and five verdicts on them.

A run is condensed to a ``Snapshot`` (``baselines``); two snapshots are compared metric by metric (``latency``,
``resources``), each comparison gives a ``Change`` with its uncertainty (``judgement``), and ``verdicts`` turns all of a
run's changes into a ``GateResult`` with its exit code. ``compare`` shows two runs side by side without judging.
"""
