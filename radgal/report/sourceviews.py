"""The test sources that deserve a look, with all that is known of each, as plain values for the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radgal.evaluation.gallery import choose_sources
from radgal.files.tables import column_name
from radgal.report.runviews import pixel_scale
from radgal.report.savedrun import SavedRun, to_float
from radgal.report.thumbnails import field_of
from radgal.report.values import clean, number


def gallery(run: SavedRun) -> dict[str, Any] | None:
    """Returns the misclassified and the most uncertain test sources, each with all that is known of it."""
    if not run.sources:
        return None
    classes = run.metrics.get("classes") or sorted({row["label_name"] for row in run.sources})
    probs = [[float(row[column_name("prob", name)]) for name in classes] for row in run.sources]
    correct = [row["correct"] == "True" for row in run.sources]
    entropy = [float(row["predictive_entropy"]) for row in run.sources]
    wrong, uncertain = choose_sources(correct, [max(p) for p in probs], entropy)
    cards = {i: _source(run, run.sources[i], classes) for i in sorted({*wrong, *uncertain})}
    groups = [{"title": "Misclassified", "rows": wrong}, {"title": "Most uncertain", "rows": uncertain}]
    return {
        "n_wrong": correct.count(False),
        "n": len(correct),
        "cards": cards,
        "groups": groups,
        "classes": [clean(name) for name in classes],
    }


def _source(run: SavedRun, row: Mapping[str, str], classes: Sequence[str]) -> dict[str, Any]:
    ra, dec = to_float(row.get("ra_deg")), to_float(row.get("dec_deg"))
    image = run.images.get(row["name"])
    facts = [
        ("position (J2000)", "not in the name" if ra is None or dec is None else sexagesimal(ra, dec)),
        ("RA, Dec", None if ra is None or dec is None else f"{ra:.4f}°, {dec:+.4f}°"),
        ("redshift", row.get("redshift")),
        ("largest angular size", row.get("las_arcsec") and f"{row['las_arcsec']}″"),
        ("predictive entropy", number(row.get("predictive_entropy"), 4, 1, " nats")),
        ("mutual information", number(row.get("mutual_information"), 4, 1, " nats")),
        ("right under random rotations", number(row.get("rotated_accuracy"), 0, 100, " %")),
    ]
    probabilities = [
        {
            "name": clean(name),
            "prob": number(row[column_name("prob", name)], 3),
            "mc": number(row.get(column_name("mc_prob", name)), 3),
            "averaged": number(row.get(column_name("averaged_prob", name)), 3),
            "percent": f"{100 * float(row[column_name('prob', name)]):.1f}",
        }
        for name in classes
    ]
    return {
        "name": clean(row["name"]),
        "key": row["name"],
        "true": clean(row["label_name"]),
        "predicted": clean(row["pred_name"]),
        "correct": row["correct"] == "True",
        "entropy": number(row["predictive_entropy"], 3),
        "position": facts[0][1],
        "facts": [(label, value) for label, value in facts if value not in (None, "")],
        "probabilities": probabilities,
        "has_averaged": any(one["averaged"] for one in probabilities),
        "has_image": image is not None,
        "field": None if image is None else field_of(image, pixel_scale(run)),
    }


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """Returns a position as hours, minutes, seconds and degrees, minutes, seconds."""
    tenths = round(ra_deg / 15 * 36000) % (24 * 36000)
    seconds = round(abs(dec_deg) * 3600)
    sign = "−" if dec_deg < 0 else "+"
    return (
        f"{tenths // 36000:02d}h{tenths // 600 % 60:02d}m{tenths % 600 / 10:04.1f}s "
        f"{sign}{seconds // 3600:02d}°{seconds // 60 % 60:02d}′{seconds % 60:02d}″"
    )
