"""Feeds altered suites, networks, weights, models, records and baselines to their readers; counts what became of them.

    python benchmarks/fuzz_inputs.py --seconds 60 --seed 0

Each reader must return or raise a CnnbenchError, within a second and a gibibyte of address space beyond what the
libraries take. The first input that breaks this is written to a file, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from hostile_inputs import TARGETS, Target, attempt
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

LONGEST_S = 1.0
MEMORY_BYTES = 2**30
ROUND = 500


class BrokenError(Exception):
    """An input that was not refused as it should."""


def fuzz(target: Target, seconds: float, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """How many inputs came to what, and the longest that one took."""
    outcomes: Counter[str] = Counter()
    longest_s = 0.0
    end = time.monotonic() + seconds

    def one(content: bytes) -> None:
        nonlocal longest_s
        start = time.process_time()
        try:
            outcomes[attempt(target, content, folder)] += 1
        except Exception as error:
            kept = Path(f"broken{target.suffix}")
            kept.write_bytes(content)
            raise BrokenError(f"{kept}: {error!r}") from error
        longest_s = max(longest_s, time.process_time() - start)
        if longest_s > LONGEST_S:
            kept = Path(f"slow{target.suffix}")
            kept.write_bytes(content)
            raise BrokenError(f"{kept}: {longest_s:.2f} s")

    while time.monotonic() < end:
        run = settings(
            max_examples=ROUND, deadline=None, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(target.contents())(one))  # fmt: skip
        seeded(seed)(run)()
        seed += 1
    return outcomes, longest_s


def main() -> int:
    """Prints one row of a table for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TARGETS, action="append")
    given_arguments = parser.parse_args()
    total = 0
    print("| file | inputs | read | refused | longest |\n| --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in given_arguments.only or TARGETS:
            target = TARGETS[name]
            fuzz(target, 0.01, 10**6, Path(folder))  # imports what it needs
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
            try:
                outcomes, longest_s = fuzz(target, given_arguments.seconds, given_arguments.seed, Path(folder))
            except BrokenError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return 1
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            count = outcomes.total()
            total += count
            read = outcomes["read"]
            print(f"| {name} | {count:,} | {read:,} | {count - read:,} | {longest_s * 1e3:.0f} ms |", flush=True)
    print(f"| all | {total:,} | | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
