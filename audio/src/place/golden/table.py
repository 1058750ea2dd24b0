"""Makes `table.parquet` and its variants, which the tests of tables read: `pip install pyarrow && python3 table.py`.

The files were made with pyarrow 26.0.1 and Python 3.11. Three rows; the third has nothing but its id.
"""

import pathlib

import pyarrow
from pyarrow import parquet

HERE = pathlib.Path(__file__).parent
turn = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
audio = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
table = pyarrow.table(
    {
        "uid": pyarrow.array([7, -8, 9], pyarrow.int64()),
        "q": ["What barks?", "Größe?", None],
        "options": pyarrow.array([["dog", "cat"], ["a", None, "c"], []], pyarrow.list_(pyarrow.string())),
        "label": pyarrow.array([0, 2, None], pyarrow.int32()),
        "start": pyarrow.array([0.5, None, None], pyarrow.float64()),
        "half": pyarrow.array([0.25, None, None], pyarrow.float32()),
        "loud": pyarrow.array([True, False, None], pyarrow.bool_()),
        "audio": pyarrow.array(
            [{"bytes": b"RIFF", "path": "a.wav"}, {"bytes": None, "path": "b.wav"}, None], audio
        ),
        "turns": pyarrow.array(
            [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], [], None],
            pyarrow.list_(turn),
        ),
        "meta": pyarrow.array([{"a": 1}, {"a": None}, None], pyarrow.struct([("a", pyarrow.int64())])),
        "deep": pyarrow.array([[[1]], [], None], pyarrow.list_(pyarrow.list_(pyarrow.int64()))),
    }
)
parquet.write_table(table, HERE / "table.parquet", row_group_size=2)
parquet.write_table(table, HERE / "table-2.parquet", data_page_version="2.0", compression="zstd")
parquet.write_table(
    table, HERE / "table-pages.parquet", use_dictionary=False, data_page_size=1, write_batch_size=1
)
