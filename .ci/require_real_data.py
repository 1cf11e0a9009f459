"""pytest plugin of CI: where the published archives are present, a skipped test on them is a failure."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    wants_data = item.get_closest_marker("real_data") or "real_data" in getattr(item, "fixturenames", ())
    if wants_data and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped, though the archives are present: {report.longrepr}"
    return report
