"""The works that a run rests on, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable

# Key -> kind, authors, title, year, and where it is to be found
REFERENCES: dict[str, tuple[str, str, str, int, dict[str, str]]] = {}


def _add(key: str, authors: str, title: str, kind: str = "article", **where: str) -> None:
    year = int("".join(sign for sign in key if sign.isdigit())[:4])
    REFERENCES[key] = kind, authors, title, year, where


def _arxiv(key: str, authors: str, title: str, number: str, **where: str) -> None:
    _add(key, authors, title, "misc", eprint=number, archivePrefix="arXiv", **where)


MNRAS = "Monthly Notices of the Royal Astronomical Society"
_add(
    "Scaife2021",
    "Scaife, Anna M. M. and Porter, Fiona",
    "{Fanaroff-Riley classification of radio galaxies using group-equivariant convolutional neural networks}",
    journal=MNRAS,
    volume="503",
    pages="2369",
    doi="10.1093/mnras/stab530",
    eprint="2102.08252",
    archivePrefix="arXiv",
)
_add(
    "Porter2023",
    "Porter, Fiona A. M. and Scaife, Anna M. M.",
    "{MiraBest: a data set of morphologically classified radio galaxies for machine learning}",
    journal="RAS Techniques and Instruments",
    volume="2",
    pages="293",
    doi="10.1093/rasti/rzad017",
    eprint="2305.11108",
    archivePrefix="arXiv",
)
_add(
    "Griese2023",
    'Griese, Florian and Kummer, Janis and Connor, Patrick L. S. and Br{\\"u}ggen, Marcus and Rustige, Lennart',
    "{FIRST radio galaxy data set containing curated labels of classes FRI, FRII, compact and bent}",
    journal="Data in Brief",
    volume="47",
    pages="108974",
    doi="10.1016/j.dib.2023.108974",
)
_add(
    "Tang2019",
    "Tang, H. and Scaife, A. M. M. and Leahy, J. P.",
    "{Transfer learning for radio galaxy classification}",
    journal=MNRAS,
    volume="488",
    pages="3358",
    doi="10.1093/mnras/stz1883",
    eprint="1903.11921",
    archivePrefix="arXiv",
)
_add(
    "Becker1995",
    "Becker, Robert H. and White, Richard L. and Helfand, David J.",
    "{The FIRST Survey: Faint Images of the Radio Sky at Twenty Centimeters}",
    journal="The Astrophysical Journal",
    volume="450",
    pages="559",
    doi="10.1086/176166",
)
_add(
    "Condon1998",
    "Condon, J. J. and Cotton, W. D. and Greisen, E. W. and others",
    "{The NRAO VLA Sky Survey}",
    journal="The Astronomical Journal",
    volume="115",
    pages="1693",
    doi="10.1086/300337",
)
_arxiv("Weiler2019", "Weiler, Maurice and Cesa, Gabriele", "{General E(2)-Equivariant Steerable CNNs}", "1911.08251")
_add(
    "LeCun1998",
    "LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick",
    "{Gradient-based learning applied to document recognition}",
    journal="Proceedings of the IEEE",
    volume="86",
    pages="2278",
    doi="10.1109/5.726791",
)
_arxiv("Kingma2015", "Kingma, Diederik P. and Ba, Jimmy", "{Adam: A Method for Stochastic Optimization}", "1412.6980")
_arxiv("Loshchilov2019", "Loshchilov, Ilya and Hutter, Frank", "{Decoupled Weight Decay Regularization}", "1711.05101")
_arxiv(
    "Loshchilov2017",
    "Loshchilov, Ilya and Hutter, Frank",
    "{SGDR: Stochastic Gradient Descent with Warm Restarts}",
    "1608.03983",
)
_arxiv(
    "Smith2019",
    "Smith, Leslie N. and Topin, Nicholay",
    "{Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates}",
    "1708.07120",
)
_arxiv(
    "Szegedy2016",
    "Szegedy, Christian and Vanhoucke, Vincent and Ioffe, Sergey and Shlens, Jonathon and Wojna, Zbigniew",
    "{Rethinking the Inception Architecture for Computer Vision}",
    "1512.00567",
)
_add(
    "Polyak1992",
    "Polyak, B. T. and Juditsky, A. B.",
    "{Acceleration of Stochastic Approximation by Averaging}",
    journal="SIAM Journal on Control and Optimization",
    volume="30",
    pages="838",
    doi="10.1137/0330046",
)
_arxiv(
    "Gal2016",
    "Gal, Yarin and Ghahramani, Zoubin",
    "{Dropout as a Bayesian Approximation: Representing Model Uncertainty in Deep Learning}",
    "1506.02142",
)
_arxiv(
    "Guo2017",
    "Guo, Chuan and Pleiss, Geoff and Sun, Yu and Weinberger, Kilian Q.",
    "{On Calibration of Modern Neural Networks}",
    "1706.04599",
)
_arxiv(
    "Lakshminarayanan2017",
    "Lakshminarayanan, Balaji and Pritzel, Alexander and Blundell, Charles",
    "{Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles}",
    "1612.01474",
)
_add(
    "Wilson1927",
    "Wilson, Edwin B.",
    "{Probable Inference, the Law of Succession, and Statistical Inference}",
    journal="Journal of the American Statistical Association",
    volume="22",
    pages="209",
    doi="10.1080/01621459.1927.10502953",
)
_add(
    "DeLong1988",
    "DeLong, Elizabeth R. and DeLong, David M. and Clarke-Pearson, Daniel L.",
    "{Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves: A Nonparametric "
    "Approach}",
    journal="Biometrics",
    volume="44",
    pages="837",
    doi="10.2307/2531595",
)
_add(
    "Hall1992",
    "Hall, Peter",
    "{On the Removal of Skewness by Transformation}",
    journal="Journal of the Royal Statistical Society B",
    volume="54",
    pages="221",
)
_add(
    "Kerman2011",
    "Kerman, Jouni",
    "{Neutral noninformative and informative conjugate beta and gamma prior distributions}",
    journal="Electronic Journal of Statistics",
    volume="5",
    pages="1450",
    doi="10.1214/11-EJS648",
)
_add(
    "Broecker2007",
    'Br{\\"o}cker, Jochen and Smith, Leonard A.',
    "{Increasing the Reliability of Reliability Diagrams}",
    journal="Weather and Forecasting",
    volume="22",
    pages="651",
    doi="10.1175/WAF993.1",
)
_add(
    "Bonett2012",
    "Bonett, Douglas G. and Price, Robert M.",
    "{Adjusted Wald Confidence Interval for a Difference of Binomial Proportions Based on Paired Data}",
    journal="Journal of Educational and Behavioral Statistics",
    volume="37",
    pages="479",
    doi="10.3102/1076998611411915",
)
_add(
    "McNemar1947",
    "McNemar, Quinn",
    "{Note on the sampling error of the difference between correlated proportions or percentages}",
    journal="Psychometrika",
    volume="12",
    pages="153",
    doi="10.1007/BF02295996",
)
_arxiv(
    "Paszke2019",
    "Paszke, Adam and Gross, Sam and Massa, Francisco and others",
    "{PyTorch: An Imperative Style, High-Performance Deep Learning Library}",
    "1912.01703",
)
_add(
    "Harris2020",
    "Harris, Charles R. and Millman, K. Jarrod and {van der Walt}, St{\\'e}fan J. and others",
    "{Array programming with NumPy}",
    journal="Nature",
    volume="585",
    pages="357",
    doi="10.1038/s41586-020-2649-2",
)
_add(
    "Virtanen2020",
    "Virtanen, Pauli and Gommers, Ralf and Oliphant, Travis E. and others",
    "{SciPy 1.0: fundamental algorithms for scientific computing in Python}",
    journal="Nature Methods",
    volume="17",
    pages="261",
    doi="10.1038/s41592-019-0686-2",
)
_add(
    "Pedregosa2011",
    'Pedregosa, Fabian and Varoquaux, Ga{\\"e}l and Gramfort, Alexandre and others',
    "{Scikit-learn: Machine Learning in Python}",
    journal="Journal of Machine Learning Research",
    volume="12",
    pages="2825",
)
_add(
    "Hunter2007",
    "Hunter, John D.",
    "{Matplotlib: A 2D Graphics Environment}",
    journal="Computing in Science and Engineering",
    volume="9",
    pages="90",
    doi="10.1109/MCSE.2007.55",
)

OF_DATASET = {
    "MiraBest": ("Porter2023", "Becker1995"),
    "MB": ("Porter2023", "Becker1995"),
    "FIRSTGalaxyData": ("Griese2023", "Becker1995"),
    "FRDEEPF": ("Tang2019", "Becker1995"),
    "FRDEEPN": ("Tang2019", "Condon1998"),
}
"""How the name of a data set begins -> what is cited for it."""
OF_PACKAGE = {
    "torch": "Paszke2019",
    "numpy": "Harris2020",
    "scipy": "Virtanen2020",
    "scikit-learn": "Pedregosa2011",
    "matplotlib": "Hunter2007",
    "e2cnn": "Weiler2019",
}


def of_dataset(name: str) -> tuple[str, ...]:
    """Returns the keys of what is cited for a data set; none for one that is not published."""
    return next((keys for beginning, keys in OF_DATASET.items() if name.startswith(beginning)), ())


def to_bibtex(keys: Iterable[str]) -> str:
    """Returns the entries of these keys, each once, in alphabetical order."""
    entries = []
    for key in sorted(set(keys)):
        kind, authors, title, year, where = REFERENCES[key]
        fields = {"author": authors, "title": title, **where, "year": str(year)}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        entries.append("\n".join([f"@{kind}{{{key},", *lines, "}"]))
    return "\n\n".join(entries) + "\n"
