"""What files are made of, put into others by the fuzz tests; and values that nobody expects."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

NUMBERS = (b"0", b"-1", b"65536", b"4294967296", b"99999999999999999999", b"1e999", b"NaN", b"", b"1.5")
PICKLE = (b"M\xe8\x03", b"J\xff\xff\xff\x7f", b"K\x00", b"K\x01", b"X\x03\x00\x00\x00std", b"cos\nsystem\n", b"R", b"b")
PICKLE += (
    b"r\xff\xff\xff\x7f",
    b"\x96" + b"\xff" * 7 + b"\x0f",
    b"T\xff\xff\xff\x7f",
    b"N",
    b"}",
    b"]",
    b"e",
    b"s",
    b"(",
    b"t",
    b".",
    b"0",
    b"2",
    b"q\x01",
    b"h\x01",
    b"G\x7f\xf0" + bytes(6),
)
CARDS = (b"NAXIS   =", b"NAXIS1  =", b"BITPIX  =", b"BZERO   =", b"CRVAL1  =", b"CDELT1  =", b"PCOUNT  =", b"XTENSION=")
CARDS += (
    b"ZNAXIS1 =",
    b"ZTILE1  =",
    b"TFORM1  =",
    b"NAXIS2  =",
    b"CTYPE1  =",
    b"END",
    b"'",
    b"/",
    b"40",
    b"16",
    b"-64",
)
CARDS += (b" " * 80, b"T", b"\xff")
TABLE = (
    b",",
    b'"',
    b"\n",
    b"\r",
    b"ra",
    b"dec",
    b"id",
    b"\x00",
    b"\xff",
    b"deg",
    b"float64",
    b"<TD>",
    b"</TR>",
    b"&x;",
)
VOTABLE = TABLE + (
    b'<STREAM href="file:///dev/zero">',
    b"STREAM",
    b' nrows="9999999999"',
    b' arraysize="1000000x1000"',
    b' arraysize="0"',
    b' arraysize="*"',
    b"binary",
    b"<BINARY2>",
    b"TABLEDATA",
    b'"double"',
    b'"char"',
    b"<!DOCTYPE x [<!ENTITY y 'z'>]>",
    b"<TABLE>",
)
ECSV = TABLE + (
    b" subtype: 'float64[1000000000,1000000000]'",
    b"subtype: float64[null]",
    b"!numpy.ndarray {buffer: !!binary AAAA, dtype: object, shape: [99999999]}",
    b"&a [*a, *a]",
    b"delimiter: ','",
    b"datatype: object",
    b"# ",
    b"# %ECSV 1.0\n",
    b"__serialized_columns__:",
    b"{",
    b"}",
    b"unit: m",
)
INI = (
    b"[model]",
    b"[data]",
    b"[",
    b"]",
    b":",
    b"=",
    b"'",
    b"True",
    b"None",
    b"nrot",
    b"imsize",
    b"[" * 90,
    b"%(x)s",
    b"\n",
)
INI += (b"10**9", b"\xff", b"\x00", b"9" * 500, b"base", b"1_000", b"'\\ud800'", b"{'a': 1}")
NPY = (b"<f8", b"|O", b"|u1", b"<U9", b">c16", b"True", b"(", b",", b")", b"shape", b"descr", b"\x93NUMPY")
HOSTILE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.builds(pow, st.just(10), st.just(5000)),
        st.sampled_from([-(2**63), float("nan"), float("inf"), "\ud800", "\x1b[31m", "", "x" * 10**5, b"x"]),
        st.builds(torch.zeros, st.sampled_from([(), (0,), (3, 2)])),
        st.sampled_from(["FRI", "VanillaLeNet", "e2cnn", 4, 50, 1.5]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)
