"""companyos state."""

import io
import json
import sqlite3

import pytest

from companyos import Company
from companyos.cli import main


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    """Each test in a company of its own."""
    (tmp_path / "companyos.yaml").write_text("company: {name: orders}\n")
    monkeypatch.chdir(tmp_path)


def test_a_state_goes_in_and_comes_out(capsys, monkeypatch):
    """Put from an option or from standard input, get, verify, stats, delete."""
    assert main(["state", "put", "s1", "--data", '{"step": 1}']) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO('{"step": 2}'))
    assert main(["state", "put", "s1", "--expect", "1", "--json"]) == 0
    capsys.readouterr()
    assert main(["state", "get", "s1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["payload"], found["version"], found["degraded"]) == ({"step": 2}, 2, False)
    assert main(["state", "get", "s1", "--strong", "--payload"]) == 0
    assert json.loads(capsys.readouterr().out) == {"step": 2}
    assert main(["state", "verify"]) == 0
    assert capsys.readouterr().out == "1 checked, all as saved\n"
    assert main(["state", "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sessions"] == 1
    assert main(["state", "delete", "s1"]) == 0
    assert main(["state", "delete", "s1"]) == 1
    assert main(["state", "get", "s1"]) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["put", "s", "--data", "{"], 2, "state.invalid"),
        (["put", "s", "--data", "NaN"], 2, "state.invalid"),
        (["put", "s", "--data", "1152921504606846976"], 2, "state.invalid"),
        (["put", "s", "--data", '"\\ud800"'], 2, "state.invalid"),
        (["put", "", "--data", "1"], 2, "state.invalid"),
        (["put", "s", "--data", "1", "--expect", "3"], 1, "state.conflict"),
        (["--url", "mysql://x", "get", "s"], 2, "config.invalid"),
        (["--cache", "memcached://x", "get", "s"], 2, "config.invalid"),
        (["--url", "postgresql://127.0.0.1:1/x", "get", "s"], 3, "state.unavailable"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_bad_calls_have_a_name(capsys, arguments, status, code):
    """Each wrong call, refusal and absence has its exit status and its code."""
    assert main(["state", *arguments]) == status
    assert f"error[{code}]" in capsys.readouterr().err


def test_damage_exits_with_one(tmp_path, capsys):
    """Verify and get exit 1 and name the session whose payload was changed behind our back."""
    main(["state", "put", "s1", "--data", "1"])
    with sqlite3.connect(tmp_path / ".companyos" / "state.db") as database:
        database.execute("UPDATE sessions SET payload = '2'")
    database.close()
    for command in (["verify"], ["verify", "s1"], ["get", "s1"]):
        assert main(["state", *command]) == 1
        assert "error[state.damaged]" in (text := capsys.readouterr().err)
        assert "s1" in text


def test_an_unreachable_cache_is_said_and_no_reason_to_stop(capsys):
    """The command works without the cache, and stats says that it does not answer."""
    cache = ["--cache", "redis://127.0.0.1:1/0"]
    assert main(["state", "put", "s1", "--data", "1"]) == 0
    assert main(["state", *cache, "stats"]) == 0
    assert "does not answer" in capsys.readouterr().out


def test_the_company_opens_what_its_settings_name(tmp_path):
    """`Company.state` has the limits of companyos.yaml, and its database beside it."""
    (tmp_path / "companyos.yaml").write_text("state: {url: 'sqlite:///kept/s.db', payload_limit: 10}\n")
    with Company.open(tmp_path) as company:
        company.state.save("s", "12345678")
        with pytest.raises(ValueError, match="at most 10"):
            company.state.save("s", "123456789")
    assert (tmp_path / "kept" / "s.db").exists()


@pytest.mark.parametrize("arguments", [["verify"], ["get", "s1"], ["stats"], ["delete", "s1"]], ids=" ".join)
@pytest.mark.parametrize("url", [[], ["--url", "sqlite:///typo/state.db"]], ids=["company", "typo"])
def test_a_database_that_is_not_there_was_not_checked(capsys, tmp_path, url, arguments):
    """Whoever mistypes a place is not told that all is well there, and no empty database is made."""
    assert main(["state", *url, *arguments]) == 3
    assert "there are no states at" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["companyos.yaml"]


def test_a_hyphen_is_standard_input(capsys, monkeypatch):
    """As everywhere else, - reads the payload from standard input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("[1]"))
    assert main(["state", "put", "s1", "--data", "-"]) == 0
    capsys.readouterr()
    assert main(["state", "get", "s1", "--payload"]) == 0
    assert json.loads(capsys.readouterr().out) == [1]
