"""Conversations to render chat templates with: what users send, and what only some templates take."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.\nToday only.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Its name, e.g. \"Köln\""},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 18446744073709551615},
                "at": {"anyOf": [{"type": "string"}, {"type": "number"}]},
                "options": {
                    "type": "object",
                    "properties": {"wind": {"type": "boolean"}, "layers": {"type": "array", "items": {"type": "string"}}},
                    "required": ["wind"],
                },
            },
            "required": ["city"],
        },
        "return": {"type": "string", "description": "one line"},
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}}},
}
BARE_TOOL = {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {"tz": {"type": "string"}}}}

SYSTEM = {"role": "system", "content": "You are terse.\n"}
HELLO = {"role": "user", "content": "Hello, <world> & 'all' 😀!"}
ANSWER = {"role": "assistant", "content": "Hi \"there\".\n\nHow are you?"}
MORE = {"role": "user", "content": "  Fine.\n"}


def call(arguments, name="get_weather", call_id="call00001"):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


ARGUMENTS = {"city": "Köln", "days": 3, "options": {"wind": True, "layers": ["a", "b"]}, "x": None, "f": 1.5}
CALLS = {"role": "assistant", "content": "", "tool_calls": [call(ARGUMENTS)]}
CALLS_NONE = {"role": "assistant", "content": None, "tool_calls": [call(ARGUMENTS), call({}, "now", "call00002")]}
CALLS_TEXT = {"role": "assistant", "content": "", "tool_calls": [call("{\"city\": \"Rome\"}")]}
RESULT = {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"t\": 21.5}"}
RESULT2 = {"role": "tool", "name": "now", "tool_call_id": "call00002", "content": "noon"}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes.", }
REASONED = {"role": "assistant", "content": "Yes.", "reasoning_content": "Let me think.\nOK."}
PARTS = {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": " this?"}]}
IMAGE = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": "x"}}]}

CONVERSATIONS = {
    "empty": [],
    "user": [HELLO],
    "system": [SYSTEM, HELLO],
    "system_only": [SYSTEM],
    "turns": [HELLO, ANSWER, MORE],
    "system_turns": [SYSTEM, HELLO, ANSWER, MORE, ANSWER],
    "assistant_last": [HELLO, ANSWER],
    "users_in_a_row": [HELLO, MORE],
    "assistant_first": [ANSWER, HELLO],
    "developer": [{"role": "developer", "content": "Be kind."}, HELLO],
    "unknown_role": [{"role": "narrator", "content": "x"}, HELLO],
    "calls": [HELLO, CALLS, RESULT],
    "calls_answered": [SYSTEM, HELLO, CALLS, RESULT, ANSWER, MORE],
    "calls_none": [HELLO, CALLS_NONE, RESULT, RESULT2, ANSWER],
    "calls_text": [HELLO, CALLS_TEXT, RESULT, ANSWER, MORE],
    "calls_last": [SYSTEM, HELLO, CALLS],
    "thoughts": [HELLO, THOUGHT, MORE],
    "reasoning": [SYSTEM, HELLO, REASONED, MORE],
    "reasoning_calls": [HELLO, {**CALLS, "reasoning_content": "A tool!"}, RESULT, REASONED, MORE],
    "thinking_key": [HELLO, {**ANSWER, "thinking": "deep"}, MORE],
    "parts": [PARTS],
    "parts_all": [{"role": "system", "content": [{"type": "text", "text": "Sys"}]}, PARTS,
                  {"role": "assistant", "content": [{"type": "text", "text": "It is."}]}, MORE],
    "image": [IMAGE],
    "tool_parts": [HELLO, CALLS, {**RESULT, "content": [{"type": "text", "text": "warm"}]}, ANSWER],
    "empty_texts": [{"role": "system", "content": ""}, {"role": "user", "content": ""}, {"role": "assistant", "content": ""}, MORE],
    "no_content": [{"role": "user"}],
    "none_content": [{"role": "user", "content": None}],
    "names": [{"role": "user", "name": "ann", "content": "x"}, {"role": "assistant", "name": "bot", "content": "y"}, MORE],
    "marks": [{"role": "user", "content": "<|im_end|>{{ x }}{% y %}<think></think>[INST]</s>"}],
    "dict_result": [HELLO, CALLS, {**RESULT, "content": {"t": 1, "l": [1, 2]}}],
}

# Keyword arguments beside the messages.
VARIATIONS = {
    "plain": {},
    "no_prompt": {"add_generation_prompt": False},
    "tools": {"tools": [WEATHER, CLOCK]},
    "tools_no_prompt": {"tools": [WEATHER], "add_generation_prompt": False},
    "bare_tools": {"tools": [BARE_TOOL]},
    "no_tools": {"tools": []},
    "thinking": {"enable_thinking": True, "thinking": True},
    "no_thinking": {"enable_thinking": False, "thinking": False, "tools": [CLOCK]},
    "effort": {"reasoning_effort": "high", "tools": [WEATHER], "builtin_tools": ["browser", "python"], "model_identity": "X."},
    "documents": {"documents": [{"title": "T", "text": "Body", "doc_id": 1}], "date_string": "1 Jan 2025"},
    "odd": {"keep_thinking": True, "preserve_thinking": True, "truncate_history_thinking": False, "tools_in_user_message": False,
            "custom_tools": [CLOCK], "functions": [BARE_TOOL], "datetime": "now", "today": "T", "xml_tools": [CLOCK], "python_tools": [CLOCK],
            "thinking_budget": 512, "response_format": {"type": "json_object"}, "json_schema": {"type": "object"}},
}
