"""A few real cutouts to try a trained network on, written from the package firstgalaxydata: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from radgal.data.firstgalaxy import FIRSTGalaxyData, FIRSTGalaxyOthers
from utils import UserError, atomic_write

STARTS = ("193.657_53.09", "186.67_43.086", "196.12_53.834", "203.894_48.128", "178.478_40.615", "192.426_30.644")
"""Right ascension and declination, degrees: two FR I, two FR II, a compact and a bent source, of the test part."""
TERMS = """\
These cutouts are of the survey FIRST: 150 x 150 pixels of 1.8 arcsec, as the Python package firstgalaxydata brings
them. Their names are right ascension, declination (degrees), label (0 FR I, 1 FR II, 2 compact, 3 bent) and the catalog
that gave the label.

Provenance: The FIRST project team: R.J. Becker, D.H. Helfand, R.L. White, M.D. Gregg, S.A. Laurent-Muehleisen.
Copyright: 1994, University of California. Permission is granted for publication and reproduction of this material for
scholarly, educational, and private non-commercial use.

Please cite: {citation}.
"""


def write_examples(folder: str | Path) -> list[tuple[str, str]]:
    """Writes PNG images and TERMS.txt into a folder; returns (file, class) of each.

    Raises:
        UserError: if there is something in the folder already, or the package is not there.
    """
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already; give a new folder, so that nothing of yours is mixed with these")
    parts = [kind(train=False) for kind in (FIRSTGalaxyData, FIRSTGalaxyOthers)]
    rows = []
    for start in STARTS:
        for images in parts:
            for i, name in enumerate(images.names):
                if name.startswith(f"{start}_"):
                    with atomic_write(folder / f"{name}.png") as temporary:
                        Image.fromarray(images.data[i].numpy()).save(temporary, format="PNG")
                    rows.append((f"{name}.png", images.classes[images.targets[i]]))
    with atomic_write(folder / "TERMS.txt") as temporary:
        temporary.write_text(TERMS.format(citation=FIRSTGalaxyData.citation), encoding="utf-8")
    return rows
