"""`farthing context erase` forgets a user and says how much that was; `farthing context key` makes a key."""

import contextlib

import pytest

from farthing import cli
from farthing.context.fold import Fold, Owner
from farthing.context.memory_file import FileMemory
from farthing.context.sealing import check_key, sealer_of

KEY = "a key that the tests use"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "context.db"


@pytest.fixture
def config(tmp_path, path):
    file = tmp_path / "farthing.yaml"
    file.write_text(f"context: {{path: {path}, key: '{KEY}'}}\n")
    return str(file)


def open_it(path, key=KEY):
    return contextlib.closing(FileMemory(path, key=key, retention_s=86_400))


def test_erase_forgets_a_user_and_says_how_many_sessions(config, path, capsys):
    with open_it(path) as memory:
        for session in "abc":
            memory.keep(Owner("ada", session), Fold("ff", 3), epoch=0)
        memory.keep(Owner("bob", "a"), Fold("ff", 3), epoch=0)

        # While the proxy has it open.
        assert cli.main(["context", "erase", "--user", "ada", "--config", config]) == 0
        assert capsys.readouterr().out == f"Erased 3 sessions of ada from {path}.\n"
        assert memory.session(Owner("ada", "a")).folds == ()
        assert memory.session(Owner("bob", "a")).folds == (Fold("ff", 3),)

    assert cli.main(["context", "erase", "--user", "ada", "--config", config]) == 0
    assert capsys.readouterr().out == f"Erased 0 sessions of ada from {path}.\n"


def test_erase_says_what_it_erased_beside(config, path, capsys):
    with open_it(path, "the key before that") as memory:
        memory.book(Owner("bob", "a"), epoch=0, saved=1)
    assert cli.main(["context", "erase", "--user", "ada", "--config", config]) == 0
    assert "So were 1 that were kept with another context.key" in capsys.readouterr().out


def test_erase_makes_no_file_where_there_is_none(config, path, capsys):
    assert cli.main(["context", "erase", "--user", "ada", "--config", config]) == 0
    assert capsys.readouterr().out == f"Erased 0 sessions of ada: there is no file {path}.\n"
    assert not path.exists()


def test_erase_fails_aloud(config, path, capsys):
    path.write_bytes(b"no database " * 100)
    assert cli.main(["context", "erase", "--user", "ada", "--config", config]) == 1
    assert capsys.readouterr().err.startswith(f"farthing: context memory {path}: file is not a database")


def test_erase_needs_a_user(config, capsys):
    with pytest.raises(SystemExit):
        cli.main(["context", "erase", "--config", config])
    assert "--user" in capsys.readouterr().err


def test_key_prints_a_new_key_that_will_do(capsys):
    keys = []
    for _ in range(2):
        assert cli.main(["context", "key"]) == 0
        keys.append(capsys.readouterr().out.removesuffix("\n"))
    assert keys[0] != keys[1]
    assert check_key(keys[0]) == keys[0]
    assert sealer_of(keys[0]).key_id != sealer_of(keys[1]).key_id
