"""The reference of farthing.yaml, as Markdown, made from the settings' model itself."""

from pydantic import BaseModel

from farthing.settings import DepartmentGrading, Key, Price, Settings

_KEYED: dict[type[BaseModel], str] = {
    Key: "keys[].",
    Price: "cost.prices.MODEL.",
    DepartmentGrading: "grading.departments.NAME.",
}
"""Sections that stand in lists and mappings, with the path their settings are read under."""


def reference() -> str:
    """Return a Markdown reference of every setting, made from the model itself."""
    lines = ["# farthing.yaml", "", "Made by `farthing settings`.", ""]
    _describe(Settings, "", lines)
    return "\n".join(lines) + "\n"


def _describe(model: type[BaseModel], prefix: str, lines: list[str]) -> None:
    # Scalars first: under a section's heading they would read as its own.
    fields = sorted(model.model_fields.items(), key=lambda item: _section_of(item[1].annotation) is not None)
    for name, info in fields:
        inner = _section_of(info.annotation)
        path = f"{prefix}{name}"
        if inner is None:
            default = (
                "required"
                if info.is_required()
                else f"`{_default(info.get_default(call_default_factory=True))}`"
            )
            lines.append(f"- `{path}` ({default}): {info.description}")
            continue
        plural = inner in _KEYED
        about = (inner.__doc__ or "").splitlines()[0]
        lines += ["", f"## {path}", "", f"{info.description}. {about}" if info.description else about, ""]
        _describe(inner, _KEYED[inner] if plural else f"{path}.", lines)


def _default(value: object) -> str:
    return "" if value is None else f"{value}"


def _section_of(annotation: object) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
