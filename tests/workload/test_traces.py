"""Traces: each format's rows, every mistake with its line, and no other exception whatever the file holds."""

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.render import as_object
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.workload.arrivals import mean_rate_rps
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.trace import Trace, parse_trace, read_trace
from harmonia_compiler.workload.traces import lines
from harmonia_compiler.workload.traces.registry import format_names, formats

#: Rows made up in the shape of each format.
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:00:00.5000000,120,40\r\n"
    "2023-11-16 18:00:02.0000000,300,7\r\n"
    "2023-11-16 18:00:02.2500000,90,0\r\n"
)
MOONCAKE = (
    '{"timestamp": 100, "input_length": 1100, "output_length": 52, "hash_ids": [4, 5, 6]}\n'
    '{"timestamp": 350, "input_length": 1300, "output_length": 9, "hash_ids": [4, 5, 7]}\n'
)
RAGPULSE = (
    '{"timestamp": "7", "input_length": 900, "output_length": 20, "hash_ids": {"sys_prompt": [1], '
    '"passages_ids": [2, 3], "history": [4], "web_search": [], "user_input": [5]}, "session_id": "a"}\n'
    "\n"
    '{"timestamp": "9", "input_length": 500, "output_length": 30, "hash_ids": {"sys_prompt": [1], "passages_ids": [],'
    ' "history": [], "web_search": [6], "user_input": [8]}, "session_id": "b"}\n'
)
SAMPLES = {"azure": AZURE, "mooncake": MOONCAKE, "ragpulse": RAGPULSE}
RECORDED = Path(__file__).parents[3] / "shared" / "data"


def parsed(text: str, format_: str | None = None) -> Trace:
    return parse_trace(Source("trace", text), format_)


def rejected(text: str, format_: str | None = None) -> list[tuple[str, int, int, str]]:
    """Code, line, column and what is marked, of each finding."""
    source = Source("trace", text)
    with pytest.raises(Rejected) as caught:
        parse_trace(source, format_)
    found = []
    for item in caught.value.found:
        assert item.help
        assert item.span is not None
        place = as_object(item)
        found.append((item.code, place["line"], place["column"], source.text[item.span.start : item.span.end]))
    return found


def test_every_format_has_a_sample() -> None:
    assert set(format_names()) == set(SAMPLES)


@pytest.mark.parametrize("name", format_names())
def test_a_format_is_told_by_the_first_line(name: str) -> None:
    assert parsed(SAMPLES[name]).format == name
    first = SAMPLES[name].partition("\n")[0]
    assert [one.name for one in formats().values() if one.fits(first)] == [name]


def test_a_line_that_leaves_out_its_passages_is_told_by_its_parts() -> None:
    first = '{"timestamp": "7", "input_length": 9, "output_length": 2, "hash_ids": {"sys_prompt": [1]}}\n'
    assert parsed(first + RAGPULSE).format == "ragpulse"
    assert parsed(first.replace('{"sys_prompt": [1]}', "{ }")).format == "ragpulse"
    assert parsed('{"timestamp": 7, "input_length": 9, "output_length": 2}').format == "mooncake"


def test_azure() -> None:
    assert parsed(AZURE).arrivals == (
        Arrival(0.0, prompt_tokens=120, answer_tokens=40),
        Arrival(1500.0, prompt_tokens=300, answer_tokens=7),
        Arrival(1750.0, prompt_tokens=90, answer_tokens=0),
    )


def test_azure_with_other_columns_and_a_zone() -> None:
    text = "GeneratedTokens,TIMESTAMP,ContextTokens,Model\n5,2024-05-10 00:00:00.25+00:00,10,x\n"
    assert parsed(text).arrivals == (Arrival(0.0, prompt_tokens=10, answer_tokens=5),)


def test_azure_with_quotes() -> None:
    lines = AZURE.splitlines()
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines)
    assert parsed(quoted).arrivals == parsed(AZURE).arrivals


def test_azure_with_zeros_before_numbers() -> None:
    assert parsed(AZURE.replace(",120,", f",{'0' * 20}120,")).arrivals == parsed(AZURE).arrivals


def test_mooncake() -> None:
    assert parsed(MOONCAKE).arrivals == (
        Arrival(0.0, prompt_tokens=1100, answer_tokens=52, prefix=(4, 5, 6), block_tokens=512),
        Arrival(250.0, prompt_tokens=1300, answer_tokens=9, prefix=(4, 5, 7), block_tokens=512),
    )


def test_ragpulse() -> None:
    assert parsed(RAGPULSE).arrivals == (
        Arrival(0.0, prompt_tokens=900, answer_tokens=20, prefix=(1, 2, 3, 4, 5), session="a"),
        Arrival(2000.0, prompt_tokens=500, answer_tokens=30, prefix=(1, 6, 8), session="b"),
    )


def test_a_time_of_very_many_digits_is_read_or_refused_at_once() -> None:
    """To try each way in which digits could be a number would take minutes."""
    line = RAGPULSE.splitlines()[0]
    time = re.search('"timestamp": ("[^"]*")', line)
    assert time is not None
    for digits, code in (("1" * 200_000 + "x", "E1304"), ("1" * 200_000, "E1305"), (f"1.{'0' * 200_000}e", "E1304")):
        ((found, number, _, marked),) = rejected(line.replace(time[1], f'"{digits}"'))
        assert (found, number, marked) == (code, 1, f'"{digits}"')


def test_requests_out_of_order_are_put_in_order_with_a_warning() -> None:
    first, second = MOONCAKE.splitlines()
    trace = parsed(f"{second}\n{first}\n{first}\n")
    assert [one.at_ms for one in trace.arrivals] == [0.0, 0.0, 250.0]
    (warning,) = trace.found
    assert (warning.code, as_object(warning)["line"]) == ("W1301", 2)


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_an_empty_file_holds_no_request(text: str) -> None:
    assert [code for code, *_ in rejected(text)] == ["E1306"]
    for name in format_names():
        assert [code for code, *_ in rejected(text, name)] == ["E1306"]


@pytest.mark.parametrize("blank", ["\n", " \t\n", "\r\n"])
def test_blank_lines_count_and_take_no_time(blank: str) -> None:
    first, second = MOONCAKE.splitlines(keepends=True)
    text = blank * 1_000_000 + first + blank * 3 + second
    assert parsed(text).arrivals == parsed(MOONCAKE).arrivals
    assert [(code, line) for code, line, *_ in rejected(text + blank + "{")] == [("E1303", 1_000_007)]


def test_a_header_alone_holds_no_request() -> None:
    assert [code for code, *_ in rejected(AZURE.partition("\n")[0])] == ["E1306"]


def test_a_file_of_no_format() -> None:
    assert rejected("\ntime,tokens\n1,2\n") == [("E1302", 2, 1, "time,tokens")]


def test_an_unknown_format_offers_the_nearest() -> None:
    with pytest.raises(Rejected) as caught:
        parsed(AZURE, "azzure")
    (item,) = caught.value.found
    assert (item.code, item.help) == ("E1302", "did you mean `azure`?")


BAD_MOONCAKE = [
    ('{"timestamp": 400, "input_length": 1', "E1303"),
    ("[1, 2]", "E1304"),
    ('{"timestamp": 400, "input_length": 1}', "E1304"),
    ('{"timestamp": 400, "input_length": "many", "output_length": 3}', "E1304"),
    ('{"timestamp": 400, "input_length": -1, "output_length": 3}', "E1305"),
    ('{"timestamp": 400, "input_length": 1, "output_length": 99999999999}', "E1305"),
    ('{"timestamp": -4, "input_length": 1, "output_length": 3}', "E1305"),
    ('{"timestamp": 1e300, "input_length": 1, "output_length": 3}', "E1305"),
    ('{"timestamp": 400, "input_length": 1, "output_length": 3, "hash_ids": ["x"]}', "E1304"),
]


def test_every_mistake_is_found_with_its_line() -> None:
    text = MOONCAKE + "\n".join(line for line, _ in BAD_MOONCAKE)
    assert [(code, line) for code, line, *_ in rejected(text)] == [
        (code, number) for number, (_, code) in enumerate(BAD_MOONCAKE, 3)
    ]


def test_a_mistake_is_marked_where_it_stands() -> None:
    line = '{"timestamp": 400, "input_length": -12, "output_length": "é", "hash_ids": []}'
    assert [marked for *_, marked in rejected(MOONCAKE + line)] == ['"é"']
    assert [marked for *_, marked in rejected(MOONCAKE + line.replace('"é"', "1"))] == ["-12"]
    assert rejected(MOONCAKE + '{"é": ]}') == [("E1303", 3, 7, "]")]


def test_a_field_of_ragpulse_is_marked_within_its_part() -> None:
    line = RAGPULSE.splitlines()[0]
    for soon in ("soon", "1_0", "nan", "\N{ARABIC-INDIC DIGIT SEVEN}", ""):
        assert rejected(line.replace('"7"', f'"{soon}"')) == [("E1304", 1, 15, f'"{soon}"')]
    assert parsed(line.replace('"7"', '" 7.5e1 "')).arrivals == parsed(line).arrivals
    ((code, number, _, marked),) = rejected(line.replace("[2, 3]", '[2, "x"]'))
    assert (code, number, marked[0]) == ("E1304", 1, "{")


@pytest.mark.parametrize(
    ("row", "code", "marked"),
    [
        ("2023-11-16 18:00:03,1", "E1303", "2023-11-16 18:00:03,1"),
        ("yesterday,1,2", "E1304", "yesterday"),
        ("2023-11-16 18:00:03,many,2", "E1304", "many"),
        ("2023-11-16 18:00:03,1,2.5", "E1304", "2.5"),
        ("2023-11-16 18:00:03,,2", "E1304", ","),
        ("2023-11-16 18:00:03,1,-2", "E1305", "-2"),
        (f"2023-11-16 18:00:03,{'9' * 5000},2", "E1305", "9" * 5000),
        ("1900-11-16 18:00:03,1,2", "E1305", "1900-11-16 18:00:03"),
        ('2023-11-16 18:00:03,"5,6', "E1304", '"5'),
        ('2023-11-16 18:00:03,5,6"', "E1304", '6"'),
    ],
)
def test_mistakes_of_azure_are_marked(row: str, code: str, marked: str) -> None:
    ((found, line, _, text),) = rejected(AZURE + row)
    assert (found, line, text) == (code, 5, marked)


def test_a_header_without_a_column() -> None:
    assert [code for code, *_ in rejected("TIMESTAMP,ContextTokens\n2023-11-16 18:00:03,1\n", "azure")] == ["E1303"]


def test_a_header_with_a_column_twice() -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens,ContextTokens\n2023-11-16 18:00:03,1,2,3\n"
    assert [code for code, *_ in rejected(text, "azure")] == ["E1303"]


def test_a_line_too_long_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MOST_LINE", 200)
    text = MOONCAKE + MOONCAKE.partition("\n")[0].replace("[4", f"[{'4, ' * 100}4")
    assert [(code, line) for code, line, *_ in rejected(text)] == [("E1303", 3)]


def test_after_many_mistakes_the_rest_is_not_read() -> None:
    assert len(rejected(MOONCAKE + "{}\n" * 1000)) == lines.MOST_FINDINGS


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_bytes(b"fine\n" + content)
    with pytest.raises(Rejected) as caught:
        read_trace(path)
    (item,) = caught.value.found
    assert item.code == "E1301"
    assert ("in line 2" in item.message) == (content is not None)


def test_a_pipe_that_nobody_writes_into_is_no_trace_to_wait_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trace.csv")
    with pytest.raises(Rejected) as caught:
        read_trace(tmp_path / "trace.csv")
    (item,) = caught.value.found
    assert item.code == "E1301"
    assert "not a regular file" in item.message


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_bytes(b"\xef\xbb\xbf" + AZURE.encode())
    assert read_trace(path).arrivals == parsed(AZURE).arrivals


ODD = ("", "\n", "-", "9" * 400, "1e999", "NaN", "null", "{", "]", '"', ",", "\0", "é", "[" * 2000)


def mutated(chance: Random) -> tuple[str, str]:
    """A sample with some of it cut out, doubled, or replaced, and its format."""
    name = chance.choice(format_names())
    text = SAMPLES[name]
    for _ in range(chance.choice((1, 1, 1, 2))):
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice((0, 1, 3, 12)))
        # Another digit, or a line said twice, leaves a trace.
        line = text[: start + 1].count("\n")
        put = chance.choice((chance.choice(ODD), str(chance.randint(0, 9)), text[start:end] * 2))
        if chance.random() < 0.3:
            start = end = sum(map(len, text.splitlines(keepends=True)[:line]))
            put = "".join(text.splitlines(keepends=True)[line : line + 1])
        text = text[:start] + put + text[end:]
    return name, text


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_whatever_a_file_holds_it_is_read_or_rejected(seed: int, named: bool) -> None:  # noqa: FBT001
    name, text = mutated(Random(seed))
    read = outcome(text, name if named else None)
    if isinstance(read, Trace):
        times = [one.at_ms for one in read.arrivals]
        assert times[0] == 0.0
        assert times == sorted(times)
    else:
        assert read
        assert json.dumps([as_object(item) for item in read])


def test_of_those_many_are_read_and_many_rejected() -> None:
    reads = sum(isinstance(outcome(mutated(Random(seed))[1], None), Trace) for seed in range(100))
    assert 30 <= reads <= 70


def outcome(text: str, format_: str | None) -> Trace | list[Diagnostic]:
    """The trace, or why there is none."""
    try:
        return parsed(text, format_)
    except Rejected as why:
        return why.found


@pytest.mark.skipif(not RECORDED.is_dir(), reason="the recordings are not part of the project")
@pytest.mark.parametrize(
    ("name", "format_", "count", "rate", "cv", "warned"),
    [
        ("azure_llm_2023_conv.csv", "azure", 19_366, 5.5, 1.1, []),
        ("ragpulse_trace.jsonl", "ragpulse", 7_106, 0.0118, 3.1, ["W1301"]),
    ],
)
def test_public_recordings(name: str, format_: str, count: int, rate: float, cv: float, warned: list[str]) -> None:
    trace = read_trace(RECORDED / name)
    times = [one.at_ms for one in trace.arrivals]
    gaps = [after - before for before, after in pairwise(times)]
    assert (trace.format, len(times), [item.code for item in trace.found]) == (format_, count, warned)
    assert mean_rate_rps(trace.arrivals) == pytest.approx(rate, rel=0.01)
    assert pstdev(gaps) / fmean(gaps) == pytest.approx(cv, rel=0.02)
