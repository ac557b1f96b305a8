"""The columns of the frames that runs are read into, each with its type; a unit is the end of a column's name."""

from __future__ import annotations

TEXT, COUNT, FIGURE, TIME = "string", "Int64", "float64", "datetime64[us, UTC]"  # a missing count is no zero
CELL = {
    "run": TEXT,
    "cell": TEXT,
    "network": TEXT,
    "backend": TEXT,
    "mode": TEXT,
    "batch": COUNT,
    "precision": TEXT,
    "side": TEXT,
}
RESULTS = CELL | {
    "image": TEXT,
    "layout": TEXT,
    "device": TEXT,
    "threads": COUNT,
    "data": TEXT,
    "seed": COUNT,
    "fold_batch_norm": "bool",
    "key": TEXT,
    "group": TEXT,
    "status": TEXT,
    "reason": TEXT,
    "latency_median_s": FIGURE,
    "latency_low_s": FIGURE,
    "latency_high_s": FIGURE,
    "latency_covers": TEXT,
    "latency_p90_s": FIGURE,
    "latency_p99_s": FIGURE,
    "throughput_images_per_s": FIGURE,
    "samples": COUNT,
    "launches": COUNT,
    "steady": "boolean",
    "peak_memory_bytes": COUNT,
    "peak_device_memory_bytes": COUNT,
    "import_s": FIGURE,
    "build_s": FIGURE,
    "weights_s": FIGURE,
    "compile_s": FIGURE,
    "first_call_s": FIGURE,
    "warmup_s": FIGURE,
    "budget_used": FIGURE,
    "failed_checks": COUNT,
    "test_accuracy": FIGURE,
    "backend_version": TEXT,
    "machine": TEXT,
    "started_utc": TIME,
}
SAMPLES = CELL | {"launch": COUNT, "round": COUNT, "index": COUNT, "latency_s": FIGURE}
CHECKS = CELL | {
    "check": TEXT,
    "status": TEXT,
    "budget_used": FIGURE,
    "worst_case_used": FIGURE,
    "node": TEXT,
    "message": TEXT,
    "reproducer": TEXT,
}
NODES = CELL | {
    "node": TEXT,
    "kind": TEXT,
    "quantity": TEXT,
    "budget_used": FIGURE,
    "worst_case_used": FIGURE,
    "budget": TEXT,
    "got": FIGURE,
    "expected": FIGURE,
    "worst_index": TEXT,
}
VERIFIED = {
    "network": TEXT,
    "backend": TEXT,
    "mode": TEXT,
    "precision": TEXT,
    **{name: CHECKS[name] for name in CHECKS if name not in CELL},
}
VERIFIED_NODES = {
    **{name: VERIFIED[name] for name in ("network", "backend", "mode", "precision", "check")},
    **{name: NODES[name] for name in NODES if name not in CELL},
}
VERDICTS = {
    "cell": TEXT,
    "network": TEXT,
    "series": TEXT,
    "batch": COUNT,
    "metric": TEXT,
    "verdict": TEXT,
    "base": FIGURE,
    "head": FIGURE,
    "scale": TEXT,
    "change": FIGURE,
    "change_low": FIGURE,
    "change_high": FIGURE,
    "threshold": FIGURE,
    "detectable": FIGURE,
    "reason": TEXT,
}
