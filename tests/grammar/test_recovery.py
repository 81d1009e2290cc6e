"""Every mistake of a file is reported, each once, and what is right around it is still read."""

import pytest

from grammar import check_texts


def found(text: str) -> list[tuple[str, int]]:
    return [(each.code, each.span.line) for each in check_texts({"a.policy": text}).diagnostics]


CASES = {
    "one mistake in each of three lines": (
        """rule a for all pods {
  requier node.ready
  require node.redy
  require node.ready and
}
""",
        [("P108", 2), ("P203", 3), ("P101", 4)],
    ),
    "a broken header, and its body": (
        """rule a fro all pods {
  require node.redy
  spread over zon
}
""",
        [("P101", 1), ("P203", 2), ("P205", 3)],
    ),
    "a header without a brace": (
        """rule a for all pods
  require node.redy
}
""",
        [("P101", 1), ("P203", 2)],
    ),
    "a brace on a line of its own": (
        """rule a for all pods
{
  require node.redy
}
rule b for all pods {
  require node.ready
}
""",
        [("P101", 1), ("P203", 3)],
    ),
    "a block that is not closed, and what follows": (
        """rule a for all pods {
  require node.ready
rule b for all pods {
  require node.redy
}
""",
        [("P105", 1), ("P203", 4)],
    ),
    "two blocks that are not closed": (
        """rule a for all pods {
  for each label "delay_{from}" as limit in ms {
    require node.delay(from) <= limit
rule b for all pods {
  require node.ready
}
""",
        [("P105", 1), ("P105", 2)],
    ),
    "the end of the file in a block": ("rule a for all pods {\n  require node.ready\n", [("P105", 1)]),
    "a block on one line": (
        "rule a for all pods { require node.ready }\nrule b for all pods {\n  require node.redy\n}\n",
        [("P107", 1), ("P203", 3)],
    ),
    "a brace behind the last statement": (
        "rule a for all pods {\n  require node.ready }\nrule b for all pods {\n  require node.redy\n}\n",
        [("P107", 2), ("P203", 4)],
    ),
    "a bracket that is not closed": (
        'rule a for all pods {\n  require node.zone in ["a",\n  require node.redy\n}\n',
        [("P104", 2), ("P203", 3)],
    ),
    "a list over several lines with a mistake in it": (
        'rule a for all pods {\n  require node.zone in [\n    "a"\n    "b",\n  ]\n  require node.redy\n}\n',
        [("P101", 4), ("P203", 6)],
    ),
    "a text that is not closed": (
        'rule a for all pods {\n  require node.zone == "a\n  require node.redy\n}\n',
        [("P103", 2), ("P203", 3)],
    ),
    "a word for a block that nobody knows": (
        "rule a for all pods {\n  whenever node.ready {\n    require node.redy\n  }\n  require node.redy\n}\n",
        [("P108", 2), ("P203", 3), ("P203", 5)],
    ),
    "an unknown declaration with a block": (
        "frobnicate a {\n  anything { goes\n  }\n}\nrule b for all pods {\n  require node.redy\n}\n",
        [("P108", 1), ("P203", 6)],
    ),
    "the names of a for each that did not parse": (
        """rule a for all pods {
  for each label "delay_{from}" as limit {
    require node.delay(from) <= limit
  }
}
""",
        [("P101", 2)],
    ),
    "names that broken lines declare are known": (
        """nodes edge where node.zone = "a"
nodes cloud where node.zone == "b"
domain rack node.labels["rack"]
rule near for some pods {
  require node.ready
}
rule a for all pods {
  spread over rack
  try edge then cloud after 3s waiving near
}
""",
        [("P109", 1), ("P101", 3), ("P101", 4)],
    ),
    "no conclusions from what did not parse": (
        'nodes edge where node.zone == "a"\nrule a for all pods {\n  try edge them edge\n}\n',
        [("P101", 3)],
    ),
    "an else": (
        """rule a for all pods {
  if node.ready {
    require node.redy
  } else {
    require node.redy
  }
  require node.redy
}
""",
        [("P108", 2), ("P203", 3), ("P107", 4), ("P203", 5), ("P203", 7)],
    ),
    "a brace too many in the middle of a rule": (
        """rule a for all pods {
  require node.ready
  }
  require node.redy
  for each label "d_{from}" as limit in ms {
    require node.delay(from) <= limit
  }
  spread over zon
}
rule b for all pods {
  require node.redy
}
""",
        [("P111", 4), ("P205", 8), ("P203", 11)],
    ),
    "a header with a colon": (
        "rule a for all pods:\n  require node.redy\nrule b for all pods:\n  require node.redy\n",
        [("P109", 1), ("P203", 2), ("P109", 3), ("P203", 4)],
    ),
    "a mistake in every kind of block": (
        """reserve backup for all pods {
  survive loss of 1 nod
}
heal x on node lost for 10 {
  move pods improving by 10
}
test "t" {
  node e1 { zon "a" }
  node e2 {
    zone "a"
    lable "k" "v"
  }
  expect video at c1
}
""",
        [
            ("P205", 2), ("P302", 4), ("P505", 5), ("P302", 5), ("P101", 8), ("P108", 11), ("P101", 13),
        ],
    ),
    "a node of a test whose brace is missing, and what follows": (
        """test "t" {
  node e1 {
    zone "a"
  pod p { }
  expect p on e9
}
""",
        [("P105", 2), ("P603", 5)],
    ),
    "nodes and pods of a test on one line without a brace": (
        """test "t" {
  node e1 { zone "a"
  node e2 zone "a" }
  pod p { label "a" "b"
  expect p on e2
  after 1s
  expect q on e1
}
rule b for all pods {
  require node.redy
}
""",
        [("P101", 2), ("P101", 3), ("P101", 4), ("P603", 7), ("P203", 10)],
    ),
    "a node of a test without a brace": (
        """test "t" {
  node e1
    zone "a"
    delay to e2 5
  }
  pod p
  {
    requests memory 5
  }
  expect p on e1
}
""",
        [("P101", 2), ("P302", 4), ("P101", 6), ("P302", 8)],
    ),
    "a misspelt word makes the node all the same": (
        """test "t" {
  nod e1 { zone "a" }
  podd "p.x" {
    label "a" "b"
    labl "b" "c"
    requests memory 5
  }
  expect "p.x" on e1
}
""",
        [("P108", 2), ("P108", 3), ("P108", 5), ("P302", 6)],
    ),
    "what is in a test whose header did not parse": (
        """test a pod is near {
  node e1 { zone "a" }
  pod p { }
  expect p on e2
}
""",
        [("P101", 1), ("P603", 4)],
    ),
    "tests that are not closed": (
        """test "t" {
  node e1 { zone "a" }
  pod p {
rule b for all pods {
  require node.redy
}
test "u" {
  pod p { }
  expect p on e1
""",
        [("P105", 1), ("P105", 3), ("P203", 5), ("P105", 7), ("P603", 9)],
    ),
    "nothing is concluded from a test with a line that did not parse": (
        """test "t" {
  pod p { }
  expekt p pending
  after 30s
}
""",
        [("P108", 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_all_are_found_once(text: str, expected: list[tuple[str, int]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["unix", "windows", "mac"])
def test_lines_count_alike_whatever_ends_them(end: str) -> None:
    text = '\ufeff# one\n\nrule a for all pods {\n\trequire node.zone == "ß" and node.redy\n}\n'.replace(
        "\n", end
    )
    (diagnostic,) = check_texts({"a": text}).diagnostics
    assert (diagnostic.span.line, diagnostic.span.column, diagnostic.span.end_column) == (4, 31, 40)


def test_a_forgotten_bracket_is_closed_by_the_end_of_the_file() -> None:
    assert found("rule a for all pods {\n  require (node.ready\n  # nothing more\n") == [
        ("P105", 1),
        ("P104", 2),
    ]
