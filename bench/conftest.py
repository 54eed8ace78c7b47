import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from workloads import SIZES


def pytest_addoption(parser):
    parser.addoption("--size", choices=sorted(SIZES), default="full", help="size of the data: full, or tiny for CI")


@pytest.fixture(scope="session")
def size(request):
    return request.config.getoption("--size")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    """The cases with a target, as a table in Markdown."""
    session = getattr(config, "_benchmarksession", None)
    cases = [case for case in getattr(session, "benchmarks", []) if "target" in case.extra_info]
    if not cases:
        return
    terminalreporter.section("targets")
    write = terminalreporter.write_line
    write("| case | data | best | ns a nonzero | against | times as fast | target | x floor | |")
    write("|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        info, best = case.extra_info, case.stats.min
        target = info["target"]
        met = info["ratio"] >= target if target else info["microseconds"] <= info["target_microseconds"]
        aim = f"{target:.2g}x" if target else f"{info['target_microseconds']} us"
        floor = f"{info['ratio_to_floor']:.2f}" if "ratio_to_floor" in info else ""
        cells = [case.name.removeprefix("test_"), info["data"], f"{1e3 * best:.4g} ms", f"{info['ns_per_nonzero']:.3g}"]
        cells += [info["peer"], f"{info['ratio']:.2f}", aim, floor, "" if met else "missed"]
        write(f"| {' | '.join(cells)} |")
