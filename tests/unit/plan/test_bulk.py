"""CSV files of requests: what is taken, and what is told of those that are not."""

from __future__ import annotations

import pytest

from smimefilter.plan.bulk import MOST_ROWS, BadCsv, Row, read_rows

GOOD = "e,cn\na@x.test,Alice\n"


def mistakes(content: bytes | str) -> list[str]:
    with pytest.raises(BadCsv) as found:
        read_rows(content.encode("latin-1") if isinstance(content, str) else content)
    return str(found.value).split("\n")


@pytest.mark.parametrize(
    ("text", "row"),
    [
        (GOOD, Row(2, "a@x.test", "Alice")),
        (
            '"e","org","COMMONNAME","fn","surname"\n"a@x.test","O, Inc","C ""N""","F","L"\n',
            Row(2, "a@x.test", 'C "N"', "O, Inc", "F", "L"),
        ),
        ("EMAIL,ORGANISATION,COMMONNAME,FIRSTNAME,LASTNAME\na@x.test,O,C,F,L\n",
         Row(2, "a@x.test", "C", "O", "F", "L")),
        ("CN,Sn,GivenName,O,E\nC,L,F,O,A@X.test\n", Row(2, "a@x.test", "C", "O", "F", "L")),
        ("cn,gn,ln,e\r\nC,F,L,a@x.test\r\n\r\n", Row(2, "a@x.test", "C", "", "F", "L")),
        ("e, cn\na@x.test,  Alice \n", Row(2, "a@x.test", "Alice")),
    ],
)  # fmt: skip
def test_columns_by_any_of_their_names(text: str, row: Row) -> None:
    assert read_rows(text.encode()) == [row]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_says_how_it_is_written(encoding: str) -> None:
    text = "e,cn\na@x.test,Älice\n"
    mark = "" if encoding.endswith("sig") else "\ufeff"
    (row,) = read_rows((mark + text).encode(encoding))
    assert row.common_name == "Älice"


def test_without_a_mark_it_is_ascii() -> None:
    mend = "not US-ASCII; for other characters write UTF-8 with a byte order mark"
    assert mistakes("e,cn\n\na@x.test,Alice\nb@x.test,B\xf6b\n\xe4@x.test,B,\xf6\n") == [
        f"row 4, column COMMONNAME: {mend}",
        f"row 5, column EMAIL: {mend}",
        f"row 5, column 3: {mend}",
    ]
    assert mistakes("e,cn,\xf6\n") == [f"row 1, column 3: {mend}"]
    assert "not UTF-8, as its mark says: byte 10" in mistakes(b"\xef\xbb\xbfe,cn\na@x.t\xff")[0]


def test_rows_are_counted_as_an_editor_shows_them() -> None:
    (first, second) = read_rows(b"\n\ne,cn\r\n\r\na@x.test,A\r\n , \r\nb@x.test,B\r\n")
    assert (first.number, second.number) == (5, 7)
    (said,) = mistakes("\ne,cn,x\n")
    assert said.startswith("row 2, column 3: no column is called 'x'")
    assert mistakes("e,cn\n\n\na@x.test,\n") == ["row 4, column COMMONNAME: is empty"]
    assert mistakes('e,cn\n\na@x.test,"A\n\n\n') == ["row 3: unexpected end of data"]


def test_as_many_rows_as_may_be_and_one_more() -> None:
    head = "e,cn\n"
    rows = [f"a{n}@x.test,A\n" for n in range(MOST_ROWS + 1)]
    assert len(read_rows((head + "".join(rows[:-1])).encode())) == MOST_ROWS
    assert mistakes(head + "".join(rows)) == ["row 10002: more than 10000 requests in one file"]


def test_values_as_long_as_may_be_and_one_more() -> None:
    assert read_rows(f"e,cn\na@x.test,{'c' * 256}\n".encode())
    assert mistakes(f"e,cn,o\na@x.test,{'c' * 257},{'o' * 300}\n") == [
        "row 2, column COMMONNAME: 257 characters, at most 256",
        "row 2, column ORGANISATION: 300 characters, at most 256",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ["no row: the first one names the columns"]),
        ("e\na@x.test\n", ["row 1: there is no column COMMONNAME"]),
        ("cn,o\nA,B\n", ["row 1: there is no column EMAIL"]),
        ("e,cn,e\n", ["row 1, column 3: a second EMAIL"]),
        ("e,cn,EMAIL\n", ["row 1, column 3: a second EMAIL"]),
        ("e,cn\na@x.test\n", ["row 2: 1 values for 2 columns"]),
        ("e,cn\na@x.test,A,B\n", ["row 2: 3 values for 2 columns"]),
        ("e,cn\n,A\nb@x.test,\n", ["row 2, column EMAIL: is empty",
                                   "row 3, column COMMONNAME: is empty"]),
        ("e,cn\na@x.test,A\nA@x.test,B\na@X.test,C\n",
         ["row 3, column EMAIL: a@x.test stands in row 2 too",
          "row 4, column EMAIL: a@x.test stands in row 2 too"]),
        ('e,cn\na@x.test,"A\n', ["row 2: unexpected end of data"]),
        ("e,cn\na@x.test,A\x01\n",
         ["row 2, column COMMONNAME: has characters that cannot be printed"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_row_and_column(text: str, said: list[str]) -> None:
    assert mistakes(text)[: len(said)] == said


def test_an_address_that_is_none_and_a_column_that_is_none() -> None:
    (one,) = mistakes("e,cn\nnobody,A\n")
    assert one.startswith("row 2, column EMAIL: ")
    (two,) = mistakes("emial,cn\n")[:1]
    assert two.startswith("row 1, column 1: no column is called 'emial' (did you mean 'email'?")


def test_all_mistakes_at_once_but_not_without_end() -> None:
    found = mistakes("e,cn\n" + "x,\n" * 30)
    assert len(found) == 21
    assert found[-1] == "and 10 more"


def test_columns_without_end_are_one_mistake() -> None:
    """Each that is unknown is looked for among the known ones, which takes its time."""
    (said,) = mistakes("EMAIL,CN," + ",".join(f"emaik{n}" for n in range(50_000)))
    assert said == "row 1: 50002 columns, at most 32"
    (said,) = mistakes("EMAIL,CN," + "x" * 100_000)
    assert said == "row 1, column 3: a name of 100000 characters, at most 256"
    assert mistakes("EMAIL,CN," + ",".join("x" * 30))[0].startswith(
        "row 1, column 3: no column"
    )
