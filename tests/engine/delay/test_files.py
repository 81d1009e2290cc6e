"""Delay files, good and bad: each message names the place and the remedy."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.delay import DelayFileError, DelayMap, check_names, load


def write(folder: Path, **files: str | bytes) -> list[Path]:
    """``a_csv="…"`` makes ``a.csv``."""
    paths = []
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        paths.append(path)
    return paths


def failure(folder: Path, paths: list[Path]) -> list[str]:
    with pytest.raises(DelayFileError) as caught:
        load(paths)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


TABLE = """\
# measured on Monday

from,to,ms
edge-1,edge_2,4.5
edge_2 , edge-1 , 5
"cloud.a","edge-1",0.25
edge-1,cloud.a,2.5e1
edge-1,edge_2,4.5
edge-1,edge-1,0
"""


def test_a_table(tmp_path: Path) -> None:
    delays = load(write(tmp_path, d_csv=TABLE))
    assert delays.names == ("edge-1", "edge_2", "cloud.a")
    assert delays.between("edge-1", "edge_2") == 5
    assert delays.between("edge-1", "cloud.a") == 25
    assert delays.between("edge_2", "cloud.a") is None
    assert delays.place("cloud.a") == f"{tmp_path}/d.csv:6"
    assert delays.warnings == ()


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "bom"])
@pytest.mark.parametrize("order", list(permutations(("from", "to", "ms"))), ids=",".join)
def test_tables_as_spreadsheets_write_them(
    tmp_path: Path, newline: str, mark: str, order: tuple[str, ...]
) -> None:
    line = {"from": "a", "to": "b", "ms": "3"}
    text = mark + newline.join([",".join(order), ",".join(line[column] for column in order)])
    assert load(write(tmp_path, d_csv=text)).between("b", "a") == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "",
            "d.csv: the file is empty; write the header from,to,ms and a line for each measured pair",
            id="empty",
        ),
        pytest.param(
            "# nothing\n",
            "d.csv: the file is empty; write the header from,to,ms and a line for each measured pair",
            id="comments-only",
        ),
        pytest.param(
            "from,to,ms\n",
            "d.csv: the table has no line but its header; add lines such as edge-1,edge-2,4.5",
            id="header-only",
        ),
        pytest.param(
            "a,b,3\n", "d.csv:1: expected the header from,to,ms, found 'a,b,3'; add that line", id="no-header"
        ),
        pytest.param(
            "source,target,rtt\na,b,3\n",
            "d.csv:1: expected the header from,to,ms, found 'source,target,rtt'; add that line",
            id="strange-header",
        ),
        pytest.param(
            "from,to,ms\na,b,-3\n",
            "d.csv:2: ms: '-3' is negative; a round trip is 0 ms or more",
            id="negative",
        ),
        pytest.param(
            "from,to,ms\na,b,nan\n",
            "d.csv:2: ms: NaN is no delay; measure this pair, or use the table from,to,ms and leave it out",
            id="nan",
        ),
        pytest.param(
            "from,to,ms\na,b,inf\n",
            "d.csv:2: ms: 'inf' is no delay; give what was measured, at most 600000 ms",
            id="inf",
        ),
        pytest.param(
            "from,to,ms\na,b,fast\n",
            "d.csv:2: ms: 'fast' is not a number; write milliseconds, such as 12.5",
            id="text",
        ),
        pytest.param(
            "from,to,ms\na,b,25 ms\n",
            "d.csv:2: ms: '25 ms' has a unit; write the number of milliseconds alone, such as 12.5",
            id="unit",
        ),
        pytest.param(
            "from,to,ms\na,b,1_000\n",
            "d.csv:2: ms: '1_000' is not a number; write milliseconds without _, such as 12.5",
            id="underscore",
        ),
        pytest.param(
            "from,to,ms\na,b,600001\n",
            "d.csv:2: ms: '600001' is more than 600000 ms; is it in microseconds? write milliseconds",
            id="too-large",
        ),
        pytest.param(
            "from,to,ms\na,b,\n",
            "d.csv:2: ms: the delay is missing; write milliseconds, such as 12.5, or leave the line out",
            id="no-value",
        ),
        pytest.param("from,to,ms\n,b,3\n", "d.csv:2: from: the name is missing", id="no-name"),
        pytest.param(
            "from,to,ms\na,edge 1,3\n",
            "d.csv:2: to: 'edge 1' is no name; a name has no blanks and no quotes",
            id="blank-in-name",
        ),
        pytest.param(
            "from,to,ms\na,b\n",
            "d.csv:2: 2 columns where there must be 3; write from,to,ms",
            id="two-columns",
        ),
        pytest.param(
            "from,to,ms\na;b;3\n",
            "d.csv:2: 1 columns where there must be 3; separate them by commas",
            id="semicolons",
        ),
        pytest.param(
            "from,to,ms\na,b,3\nb,a,4\n# x\na,b,5\n",
            "d.csv:5: ms: a to b is 5 here and 3 in line 2; keep one",
            id="contradiction",
        ),
        pytest.param(
            b"from,to,ms\na,b,3\n\xff,b,3\n", "d.csv:3: not UTF-8; save the file as UTF-8 text", id="latin"
        ),
    ],
)
def test_bad_tables(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert failure(tmp_path, write(tmp_path, d_csv=text)) == [expected]


def test_all_that_is_wrong_with_a_table_is_told_at_once(tmp_path: Path) -> None:
    text = "from,to,ms\na,b,-1\n" + "x,y,1\nx,y,2\n" + "".join(f"n{i},b,x\n" for i in range(30))
    told = failure(tmp_path, write(tmp_path, d_csv=text))
    assert told[0] == "d.csv:2: ms: '-1' is negative; a round trip is 0 ms or more"
    assert len(told) == 21
    assert told[-1] == "and 12 more"


def test_reading_stops_where_nothing_is_right(tmp_path: Path) -> None:
    told = failure(tmp_path, write(tmp_path, d_csv="from,to,ms\n" + "a,b,x\n" * 5000))
    assert told[-1] == "and at least 980 more"


NAMES = '{"edge-1": 0,\n "edge_2": 2,\n "cloud.a": 1}\n'
MATRIX = "0 10 2\n20 0 4\n3 4 0\n"


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(MATRIX, id="blanks"),
        pytest.param("# header\n" + MATRIX.replace(" ", ","), id="commas"),
        pytest.param(MATRIX.replace(" ", ", "), id="commas-and-blanks"),
        pytest.param(MATRIX.replace(" ", "\t") + "\n# footer", id="tabs"),
        pytest.param(
            "0.000e+00 1.000e+01 2.000e+00\n2.0e1 0e0 4.0e0\n3.0e0 4.0e0 0.0e0 # last", id="scientific"
        ),
    ],
)
def test_the_pair_in_any_order(tmp_path: Path, matrix: str) -> None:
    paths = write(tmp_path, m_txt=matrix, n_json=NAMES)
    for given_paths in (paths, paths[::-1]):
        delays = load(given_paths)
        assert delays.names == ("edge-1", "cloud.a", "edge_2")
        assert delays.between("edge-1", "cloud.a") == 20
        assert delays.between("edge-1", "edge_2") == 3
        assert delays.place("edge_2") == f"{tmp_path}/n.json:2"


def test_the_metadata_beside_a_matrix_of_the_same_stem(tmp_path: Path) -> None:
    matrix, _ = write(tmp_path, lab_txt=MATRIX, lab_json=NAMES)
    assert load([matrix]).between("edge_2", "cloud.a") == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.floats(0, 1000), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_what_savetxt_writes_is_read_back(tmp_path: Path, rows: list[list[float]]) -> None:
    np.savetxt(tmp_path / "m.txt", rows)
    names = [f"n{position}" for position in range(len(rows))]
    (tmp_path / "m.json").write_text(json.dumps({name: row for row, name in enumerate(names)}))
    read, made = load([tmp_path / "m.txt"]), DelayMap.from_matrix(names, rows)
    for name in names:
        np.testing.assert_array_equal(read.row(name), made.row(name))


@pytest.mark.parametrize(
    ("matrix", "names", "expected"),
    [
        pytest.param(
            "", NAMES, ["m.txt: the matrix is empty; write one row of round trips in ms for each node"], id="empty"
        ),
        pytest.param(
            MATRIX, "", ['n.json: the file is empty; write {"node name": row of the matrix, …}'], id="no-names"
        ),
        pytest.param(
            "0 1 2\n1 0 3\n",
            NAMES,
            ["m.txt: 2 rows of 3 values: rows are missing; the matrix must be square"],
            id="row-missing",
        ),
        pytest.param(
            "0 1\n1 0\n2 2\n",
            NAMES,
            ["m.txt: 3 rows of 2 values: columns are missing; the matrix must be square"],
            id="columns-missing",
        ),
        pytest.param(
            "0 1 2\n1 0\n2 2 0\n",
            NAMES,
            ["m.txt:2: 2 values where line 1 has 3; give each row as many"],
            id="ragged",
        ),
        pytest.param(
            "# a\n0 1 2\n-1 0 nan\n2 inf x\n",
            NAMES,
            [
                "m.txt:3: column 1: '-1' is negative; a round trip is 0 ms or more",
                "m.txt:3: column 3: NaN is no delay; measure this pair, or use the table from,to,ms and leave it out",
                "m.txt:4: column 2: 'inf' is no delay; give what was measured, at most 600000 ms",
                "m.txt:4: column 3: 'x' is not a number; write milliseconds, such as 12.5",
            ],
            id="values",
        ),
        pytest.param(
            "0 600001\n1 0",
            '{"a": 0, "b": 1}',
            ["m.txt:1: column 2: '600001' is more than 600000 ms; is it in microseconds? write milliseconds"],
            id="too-large",
        ),
        pytest.param(
            "0,1,\n1,0,\n",
            '{"a": 0, "b": 1}',
            [
                "m.txt:1: the row ends in a comma; take it away",
                "m.txt:2: the row ends in a comma; take it away",
            ],
            id="trailing-comma",
        ),
        pytest.param(
            MATRIX,
            '{"a": 0,\n"b": 3,\n"c": 0,\n"d": -1,\n"e": "1",\n"f": true,\n"g": 1.0,\n"a": 2\n}',
            [
                'n.json:5: e: "1" is no row; write a whole number, 0 for the first',
                "n.json:6: f: true is no row; write a whole number, 0 for the first",
                "n.json:7: g: 1.0 is no row; write a whole number, 0 for the first",
                "n.json:8: a: stands there twice; give each node one row",
                "n.json:2: b: row 3 is not in m.txt, which has rows 0 to 2",
                "n.json:3: c: row 0 is that of a already; give each its own",
                "n.json:4: d: row -1 is negative; the first row is 0",
                "n.json: row 1 of m.txt has no name; add one, or drop the row",
                "n.json: row 2 of m.txt has no name; add one, or drop the row",
            ],
            id="rows",
        ),
        pytest.param(
            "0 1\n1 -1\n",
            '{"a": 0, "b": 0}',
            [
                "m.txt:2: column 2: '-1' is negative; a round trip is 0 ms or more",
                "n.json:1: b: row 0 is that of a already; give each its own",
            ],
            id="both-files",
        ),
        pytest.param(
            MATRIX, '{"a": 0,,}', ["n.json:1: column 9: not JSON: expecting property name enclosed in double quotes"],
            id="no-json",
        ),
        pytest.param(
            MATRIX, '["a"]', ['n.json:1: not an object; write {"node name": row of the matrix, …}'], id="list"
        ),
        pytest.param(
            MATRIX,
            '{"a": ' + "1" * 5000 + "}",
            ['n.json: cannot be read; write {"node name": row of the matrix, …}'],
            id="endless-number",
        ),
        pytest.param(
            "0 1\n1 0",
            '{"a b": 0, "b": 1}',
            [
                "n.json:1: 'a b' is no name; a name has no blanks and no quotes",
                "n.json: row 0 of m.txt has no name; add one, or drop the row",
            ],
            id="name",
        ),
    ],
)  # fmt: skip
def test_bad_pairs(tmp_path: Path, matrix: str, names: str, expected: list[str]) -> None:
    assert failure(tmp_path, write(tmp_path, m_txt=matrix, n_json=names)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"m_txt": MATRIX},
            "m.txt: a matrix without names; its metadata JSON is missing: name it m.json, "
            "or add --delays metadata.json",
            id="matrix-alone",
        ),
        pytest.param(
            {"n_json": NAMES},
            "n.json: the matrix is missing; give it too: --delays matrix.txt --delays metadata.json",
            id="metadata-alone",
        ),
        pytest.param(
            {"a_csv": TABLE, "b_csv": TABLE},
            "b.csv: these files make no pair (a.csv, b.csv); "
            "give one table (from,to,ms), or a matrix and its metadata JSON",
            id="two-tables",
        ),
        pytest.param(
            {"a_json": NAMES, "b_json": NAMES},
            "b.json: these files make no pair (a.json, b.json); "
            "give one table (from,to,ms), or a matrix and its metadata JSON",
            id="two-metadata",
        ),
        pytest.param(
            {},
            "--delays: no file; give one table (from,to,ms), or a matrix and its metadata JSON",
            id="none",
        ),
    ],
)
def test_sets_of_files_that_are_none(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert failure(tmp_path, write(tmp_path, **files)) == [expected]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert failure(tmp_path, [tmp_path / "m.txt", tmp_path]) == [
        "m.txt: no such file; check the path",
        f"{tmp_path}: a folder; name the file in it",
    ]


def test_a_diagonal_that_is_not_zero_is_a_warning(tmp_path: Path) -> None:
    delays = load(write(tmp_path, d_csv="from,to,ms\na,a,2\nb,b,1\na,b,3\n"))
    assert delays.between("a", "a") == 0
    assert delays.warnings == (
        f"{tmp_path}/d.csv: a is given as 2 ms from itself (and 1 more); 0 is used, write 0 or leave it out",
    )


@given(st.text(alphabet="abn,.\"'# \t\n\r;{}[]:0159-e_inf", max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_the_text_the_answer_is_a_map_or_a_clear_error(tmp_path: Path, text: str) -> None:
    for name in ("d.csv", "m.txt", "n.json"):
        (tmp_path / name).write_text(text)
    for paths in (["d.csv"], ["m.txt"], ["n.json"], ["m.txt", "n.json"]):
        try:
            told = list(load([tmp_path / name for name in paths]).names)
        except DelayFileError as error:
            told = [line for line in str(error).splitlines() if line.startswith((f"{tmp_path}/", "and "))]
            told = told if len(told) == len(str(error).splitlines()) else []
        assert told


def test_names_are_compared_with_the_nodes(tmp_path: Path) -> None:
    delays = load(write(tmp_path, d_csv="from,to,ms\negde-1,edge-2,3\nedge-2,office,3\nedge-3,edge-3,0\n"))
    assert [
        line.replace(f"{tmp_path}/", "") for line in check_names(delays, ["edge-1", "edge-2", "edge-3"])
    ] == [
        "d.csv:2: egde-1 is no node; did you mean edge-1?",
        "d.csv:3: office is no node",
        "node edge-1 has no delay to any other; pods with a delay limit will not be placed there",
        "node edge-3 has no delay to any other; pods with a delay limit will not be placed there",
    ]
    assert check_names(DelayMap.from_pairs([("a", "b", 1)]), ["a", "b"]) == []


def test_many_strange_names_are_counted() -> None:
    delays = DelayMap.from_pairs([("a", f"x{position}", 1) for position in range(30)])
    warnings = check_names(delays, ["a"])
    assert len(warnings) == 21
    assert warnings[-1] == "and 10 more endpoints that are no node"
