from pathlib import Path

import pytest

from schemas.errors import SettingsError
from sinks.clickhouse.dsn import PASSWORD_VARIABLE, Embedded, Server, Target, parse_dsn, read_password

GOOD: list[tuple[str, Target]] = [
    ("chdb:///./andon.db", Embedded(Path("andon.db"))),
    ("chdb:///./a/b c.db", Embedded(Path("a/b c.db"))),
    ("chdb:///var/lib/andon", Embedded(Path("/var/lib/andon"))),
    ("chdb:////var/lib/andon", Embedded(Path("/var/lib/andon"))),
    ("chdb:////var/a:b@c", Embedded(Path("/var/a:b@c"))),
    ("http://localhost", Server("http", "localhost", 8123, "default", "andon")),
    ("http://ann@ch1:8124/shop", Server("http", "ch1", 8124, "ann", "shop")),
    ("https://a%40b@ch1/", Server("https", "ch1", 8443, "a@b", "andon")),
    ("http://[::1]:8123/andon", Server("http", "::1", 8123, "default", "andon")),
]


@pytest.mark.parametrize(("dsn", "target"), GOOD)
def test_good_ones_are_read_and_say_themselves_again(dsn: str, target: Target) -> None:
    assert parse_dsn(dsn) == target
    if "%40" not in dsn:
        assert parse_dsn(str(target)) == target


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("", "chdb:///PATH"),
        ("andon.db", "chdb:///PATH"),
        ("chdb://andon.db", 'three slashes, for example "chdb:///./andon.db"'),
        ("chdb:///", "path of a directory"),
        ("chdb:///./", "path of a directory"),
        ("chdb:///:memory:", "path of a directory"),
        ("clickhouse://h:9000/andon", "http(s)://"),
        ("http:///andon", "http(s)://"),
        ("http://h:0/andon", "between 1 and 65535"),
        ("http://h:99999/andon", "Port out of range"),
        ("http://h:x/andon", "Port could not be cast"),
        ("http://[::1/andon", "IPv6"),
        ("http://h/and-on", "letters, digits and _"),
        ("http://h/a/b", "letters, digits and _"),
        ("http://h/system", "one of ClickHouse's own"),
        ("http://h/INFORMATION_SCHEMA", "one of ClickHouse's own"),
        ("http://h/andon?secure=1", "nothing behind"),
        ("http://u:secret@h/andon", PASSWORD_VARIABLE),
        ("http://u:secret@h:x/andon", "Port could not be cast"),
        ("http://u:secret/word@h/andon", PASSWORD_VARIABLE),
        ("http://u:se#cret@secret@h/andon", PASSWORD_VARIABLE),
        ("http://u@h/andon?password=secret", "nothing behind"),
        ("u:secret@h:8123/andon", 'must be "chdb:///PATH"'),
        ("chdb:///./a?x#y", "nothing behind"),
    ],
)
def test_bad_ones_are_refused_in_words_without_a_password(dsn: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_dsn(dsn, "andon.toml")
    (problem,) = caught.value.problems
    assert problem.file == "andon.toml"
    assert problem.key == "clickhouse"
    assert words in problem.expected
    assert "secret" not in str(caught.value)


def test_the_password_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert read_password() is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "from env")
    assert read_password() == "from env"
    file = tmp_path / "password"
    for content in (b"from file\n", b"\xef\xbb\xbffrom file\r\n"):  # as editors of Windows write it, too
        file.write_bytes(content)
        assert read_password(str(file)) == "from file"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_password_file_that_gives_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match="password_file"):
        read_password(str(file))
