"""`farthing balance --verify` recomputes every balance and says, by its status too, whether it adds up."""

import asyncio
import sqlite3

from farthing import cli
from farthing.credits.store import open_store


async def grant(url):
    store = open_store(url)
    try:
        await store.grant("g-1", "user:ada", 5_000, department="research")
    finally:
        await store.close()


def test_a_sound_store_passes_and_a_damaged_one_is_named(tmp_path, capsys):
    file, path = tmp_path / "farthing.yaml", tmp_path / "credits.db"
    file.write_text("credits: {store: 'sqlite:///credits.db'}\n")
    asyncio.run(grant(f"sqlite:///{path}"))
    assert cli.main(["balance", "--verify", "--config", str(file)]) == 0
    assert capsys.readouterr().out == "every balance adds up\n"

    db = sqlite3.connect(path)
    db.execute("UPDATE accounts SET granted = 6000 WHERE id = 'user:ada'")
    db.commit()
    db.close()
    assert cli.main(["balance", "--verify", "--config", str(file)]) == 1
    shown = capsys.readouterr().out
    assert "user:ada: granted is kept as 6000 and adds up to 5000 nano-USD\n" in shown
    assert shown.endswith(" totals do not add up\n")


def test_a_store_that_cannot_be_read_is_an_error(tmp_path, capsys):
    file = tmp_path / "farthing.yaml"
    (tmp_path / "credits.db").mkdir()
    file.write_text("credits: {store: 'sqlite:///credits.db'}\n")
    assert cli.main(["balance", "--verify", "--config", str(file)]) == 1
    assert capsys.readouterr().err.startswith("farthing: ")
