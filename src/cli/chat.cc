#include "cli/chat.h"

#include <fmt/core.h>

#include <charconv>
#include <cstdio>

#include "base/error.h"
#include "base/utf8.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"

namespace metallic::cli {
namespace {

constexpr const char* kHelp =
    "/bye              leave (or Ctrl-D)\n"
    "/clear            forget the conversation\n"
    "/set NAME VALUE   temp, top-k, top-p, min-p, repeat-penalty, presence-penalty, frequency-penalty, seed, n, "
    "system\n"
    "/show             the current settings\n"
    "/? or /help       this help\n"
    "Several lines: begin and end with \"\"\", or end a line with \\. Ctrl-C stops an answer.\n";

// Reads all of `text` as a number of type T.
template <class T>
bool parse_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// What /set can change.
struct Setting {
  const char* name;
  bool (*parse)(GenerationOptions& options, std::string_view text);
};
constexpr Setting kSettings[] = {
    {"temp", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.temperature); }},
    {"top-k", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.top_k); }},
    {"top-p", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.top_p); }},
    {"min-p", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.min_p); }},
    {"repeat-penalty",
     [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.repeat_penalty); }},
    {"presence-penalty",
     [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.presence_penalty); }},
    {"frequency-penalty",
     [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.frequency_penalty); }},
    {"seed", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.sampling.seed); }},
    {"n", [](GenerationOptions& o, std::string_view text) { return parse_number(text, o.max_tokens); }},
};

class Chat {
 public:
  Chat(Engine& engine, std::string system_prompt, GenerationOptions options)
      : engine_(engine),
        system_(std::move(system_prompt)),
        options_(std::move(options)),
        editor_(default_history_path()) {
    clear();
  }

  void run() {
    const InterruptGuard guard;
    std::string text;
    while (read_message(text)) {
      if (text.empty()) continue;
      editor_.remember(text);
      if (text[0] != '/') {
        answer(text);
      } else if (!command(text)) {
        return;
      }
    }
  }

 private:
  void clear() {
    messages_.clear();
    if (!system_.empty()) messages_.push_back({"system", system_});
  }

  // One message, of several lines if it is written so. False at the end of the input.
  bool read_message(std::string& text) {
    text.clear();
    bool block = false;
    for (bool first = true;; first = false) {
      const Line line = editor_.read(first ? ">>> " : "... ");
      if (line.end == LineEnd::kEnd) return !text.empty();
      if (line.end == LineEnd::kInterrupted) {
        if (first) fmt::print(stderr, "Ctrl-D or /bye leaves the chat.\n");
        text.clear();
        return true;
      }
      std::string_view part = line.text;
      if (first && part.starts_with("\"\"\"")) {
        block = true;
        part.remove_prefix(3);
        if (part.empty()) continue;
      }
      const bool block_ends = block && part.ends_with("\"\"\"");
      const bool goes_on = block ? !block_ends : part.ends_with('\\');
      if (block_ends) part.remove_suffix(3);
      if (!block && goes_on) part.remove_suffix(1);
      text += part;
      if (!goes_on) return true;
      text += '\n';
    }
  }

  void answer(const std::string& text) {
    const size_t bad = find_invalid_utf8(text);
    if (bad != std::string::npos) {
      fmt::print(stderr, "metallic: byte {} of this message is not UTF-8; it was not sent\n", bad);
      return;
    }
    messages_.push_back({"user", text});
    const Status status = [&]() -> Status {
      METALLIC_ASSIGN(std::vector<TokenId> prompt, engine_.chat_prompt(messages_));
      METALLIC_ASSIGN(const Completion completion, stream_answer(engine_, std::move(prompt), options_));
      if (options_.show_statistics) print_statistics(completion);
      messages_.push_back({"assistant", completion.text});
      ++options_.sampling.seed;  // another answer to the same question may differ
      return {};
    }();
    if (status) return;
    messages_.pop_back();
    fmt::print(stderr, "metallic: {}{}\n", status.error().message,
               status.error().code == ErrorCode::kOutOfRange ? "; /clear starts a new conversation" : "");
  }

  // False if the chat is over.
  bool command(const std::string& text) {
    const size_t space = text.find(' ');
    const std::string name = text.substr(0, space);
    const std::string rest = space == std::string::npos ? "" : text.substr(space + 1);
    if (name == "/bye" || name == "/exit" || name == "/quit") return false;
    if (name == "/clear") {
      clear();
      fmt::print(stderr, "The conversation is forgotten.\n");
    } else if (name == "/show") {
      show();
    } else if (name == "/set") {
      set(rest);
    } else if (name == "/?" || name == "/help") {
      fmt::print(stderr, "{}", kHelp);
    } else {
      fmt::print(stderr, "{} is no command; /? lists them.\n", name);
    }
    return true;
  }

  void show() const {
    const SamplingOptions& s = options_.sampling;
    fmt::print(stderr,
               "temp {}  top-k {}  top-p {}  min-p {}  repeat-penalty {}  presence-penalty {}  frequency-penalty {}  "
               "seed {}  n {}\n"
               "system: {}\ncontext {} tokens, {} messages so far\n",
               s.temperature, s.top_k, s.top_p, s.min_p, s.repeat_penalty, s.presence_penalty, s.frequency_penalty,
               s.seed, options_.max_tokens, system_.empty() ? "(none)" : system_, engine_.info().context,
               messages_.size());
  }

  void set(const std::string& assignment) {
    const size_t space = assignment.find(' ');
    const std::string name = assignment.substr(0, space);
    const std::string value = space == std::string::npos ? "" : assignment.substr(space + 1);
    if (name == "system") {
      system_ = value;
      clear();
      fmt::print(stderr, "A new conversation begins with this system prompt.\n");
      return;
    }
    for (const Setting& setting : kSettings)
      if (name == setting.name) {
        if (!setting.parse(options_, value)) fmt::print(stderr, "'{}' is no value for {}.\n", value, name);
        return;
      }
    fmt::print(stderr, "'{}' is no setting; /? lists them.\n", name);
  }

  Engine& engine_;
  std::string system_;
  GenerationOptions options_;
  LineEditor editor_;
  std::vector<ChatMessage> messages_;
};

}  // namespace

Status run_chat(Engine& engine, const std::string& system_prompt, GenerationOptions options) {
  Chat(engine, system_prompt, std::move(options)).run();
  return {};
}

}  // namespace metallic::cli
