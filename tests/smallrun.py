"""A small run on galaxies that come with a package: what many tests train."""

CONFIG = """
[model]
base: 'VanillaLeNet'
[data]
dataset: 'FIRSTGalaxyData'
[training]
imsize: 50       # small, to be quick
epochs: 2
lr0: 1e-3
[metrics]
outputdir: '{folder}'
"""
WRITTEN = (
    "best.pt last.pt model.pt history.csv config.txt environment.json metrics.json loss.png error.png "
    "confusion.png roc.png reliability.png sources.csv sources.ecsv sources.fits gallery.npz report.html"
)
