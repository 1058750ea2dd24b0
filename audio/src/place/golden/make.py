"""Makes the archives of this folder, which `tests.rs` reads: `pip install pyarrow && python3 make.py`.

Row or member N holds the text `clip N ` (N + 1) * 20 times. The files were made with pyarrow 26.0.1 and Python 3.11.
"""

import io
import pathlib
import tarfile

import pyarrow
from pyarrow import parquet

HERE = pathlib.Path(__file__).parent
ROWS = range(10)


def content(number):
    return b"clip %d " % number * (number + 1) * 20


def hub(row):
    """A value of the Hub's `Audio`: row 5 has a path only, row 6 has nothing, row 7 is null itself."""
    if row == 7:
        return None
    return {"bytes": None if row in (5, 6) else content(row), "path": None if row == 6 else "file %d.wav" % row}


audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
schema = pyarrow.schema([
    pyarrow.field("id", pyarrow.int64()),
    pyarrow.field("words", pyarrow.list_(pyarrow.string())),
    pyarrow.field("audio", audio),
    # Three values only, so that a dictionary is worth it.
    pyarrow.field("sound", pyarrow.binary(), nullable=False),
    pyarrow.field("file", pyarrow.string()),
])
table = pyarrow.table(
    [
        list(ROWS),
        [["a"] * (row % 3) for row in ROWS],
        pyarrow.array([hub(row) for row in ROWS], audio),
        [content(row % 3) for row in ROWS],
        ["file %d.wav" % row for row in ROWS],
    ],
    schema=schema,
)
for name, options in {
    "snappy": {},
    "zstd": {"compression": "zstd", "row_group_size": 4},
    "gzip": {"compression": "gzip", "row_group_size": 3},
    "lz4": {"compression": "lz4"},
    "none": {"compression": "none", "row_group_size": 1},
    "second": {"data_page_version": "2.0", "compression": "zstd", "row_group_size": 7},
    "pages": {"use_dictionary": False, "data_page_size": 1, "write_batch_size": 2, "write_statistics": True},
    "brotli": {"compression": "brotli"},
    "delta": {"use_dictionary": False, "column_encoding": {"sound": "DELTA_BYTE_ARRAY"}},
}.items():
    parquet.write_table(table, HERE / f"{name}.parquet", **options)

for name, format in {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}.items():
    with tarfile.open(HERE / f"{name}.tar", "w", format=format) as archive:
        long = "folder/" * 20 + "deep.wav"
        for number, member in enumerate(["./000001.wav", "000001.json", "sub/Größe.wav", long, "empty.wav"]):
            info = tarfile.TarInfo(member)
            info.size = 0 if member == "empty.wav" else len(content(number))
            archive.addfile(info, io.BytesIO(content(number)))
        for kind, member, target in [
            (tarfile.DIRTYPE, "sub", ""), (tarfile.SYMTYPE, "soft.wav", "000001.wav"), (tarfile.LNKTYPE, "hard.wav", "./000001.wav")
        ]:
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, target
            archive.addfile(info)
