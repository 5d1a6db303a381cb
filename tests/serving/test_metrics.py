"""What a server counts, in the form that Prometheus reads."""

import re
from types import SimpleNamespace

from koniq.serving.metrics import Counts, resident


def test_each_name_is_described_once_and_each_line_is_a_sample():
    counts = Counts()
    for code in (200, 200, 422):
        counts.request(code)
    for seconds in (0.01, 0.3, 99):
        counts.took(seconds)
    counts.picture("ok")
    text = counts.text(SimpleNamespace(batches=2, scored=5, inside=1))
    lines = text.splitlines()
    named = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len({*named}) == len(named) == sum(line.startswith("# HELP") for line in lines)
    samples = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+(\{[a-z]+="[\w.+]+"\})? \d+(\.\d+)?', line) for line in samples), samples
    assert {"koniq_batches_total 2", "koniq_batched_pictures_total 5", "koniq_pictures_waiting 1"} <= {*samples}
    assert {'koniq_requests_total{code="200"} 2', 'koniq_pictures_total{status="truncated"} 0'} <= {*samples}
    within = [int(line.split()[1]) for line in samples if line.startswith("koniq_request_seconds_bucket")]
    assert (within[0], within[-2], within[-1]) == (1, 2, 3)
    assert within == sorted(within)
    assert text.endswith("\n")
    assert resident() > 10_000_000 or "process_resident" not in text
