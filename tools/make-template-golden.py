#!/usr/bin/env python3
"""Makes tests/data/templates: what jinja2 makes of the cases in template_cases.py and, with the templates of model files, of the
conversations in template_conversations.py. Needs jinja2 and, for models, gguf.

    tools/make-template-golden.py [MODEL.gguf ...]

Without model files the templates already in models.json are rendered again. `null` stands where jinja2 fails.
"""
import json
import pathlib
import sys

import template_cases
import template_conversations
import template_reference

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "templates"
GROUPS = ("LITERALS", "OPERATORS", "STATEMENTS", "WHITESPACE", "FILTERS", "TESTS", "METHODS", "FUNCTIONS")
VARIATIONS = ("plain", "no_prompt", "tools", "tools_no_prompt")


def dump(value):
    return json.dumps(value, ensure_ascii=False)


def write(name, head, cases):
    """One case a line, so that a difference shows which."""
    lines = ",\n".join(dump(case) for case in cases)
    fields = "".join(f"{dump(key)}: {dump(value)},\n" for key, value in head.items())
    (FOLDER / name).write_text(f"{{\n{fields}\"cases\": [\n{lines}\n]\n}}\n", encoding="utf-8")


def language_cases():
    for group in GROUPS:
        for template in getattr(template_cases, group):
            expected = template_reference.render(template, template_cases.VARIABLES)
            yield {"group": group.lower(), "template": template, "expected": expected}


def model_templates(paths):
    """What is rendered for each model: its template and the texts of its special tokens."""
    if not paths:
        return json.loads((FOLDER / "models.json").read_text(encoding="utf-8"))["models"]
    import gguf

    models = {}
    for path in paths:
        reader = gguf.GGUFReader(path)
        field = {key: reader.get_field(key) for key in reader.fields}

        def token(name):
            at = field.get(f"tokenizer.ggml.{name}_token_id")
            return field["tokenizer.ggml.tokens"].contents(int(at.contents())) if at else ""

        models[pathlib.Path(path).stem] = {
            "template": field["tokenizer.chat_template"].contents(),
            "bos_token": token("bos"),
            "eos_token": token("eos"),
        }
    return models


def model_cases(models):
    for name, model in models.items():
        for conversation, messages in template_conversations.CONVERSATIONS.items():
            for variation in VARIATIONS:
                options = template_conversations.VARIATIONS[variation]
                variables = template_reference.chat_variables(
                    messages, **options, bos_token=model["bos_token"], eos_token=model["eos_token"]
                )
                expected = template_reference.render(model["template"], variables)
                yield {"model": name, "conversation": conversation, "options": variation, "expected": expected}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    write("language.json", {"variables": template_cases.VARIABLES}, language_cases())
    models = model_templates(sys.argv[1:])
    head = {
        "models": models,
        "conversations": template_conversations.CONVERSATIONS,
        "options": {name: template_conversations.VARIATIONS[name] for name in VARIATIONS},
    }
    write("models.json", head, model_cases(models))


if __name__ == "__main__":
    main()
