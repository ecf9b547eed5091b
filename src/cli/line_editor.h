// Lines typed by a person: editing and history by libedit on a terminal, plain lines otherwise.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace metallic::cli {

enum class LineEnd { kLine, kInterrupted, kEnd };
struct Line {
  LineEnd end = LineEnd::kEnd;
  std::string text;  // without the line feed
};

// Reads standard input; the prompt and what is typed are shown on standard error, so that standard output holds answers
// only.
class LineEditor {
 public:
  // `history_path` may be empty: then history ends with the process.
  explicit LineEditor(std::string history_path);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Line read(const char* prompt);
  void remember(const std::string& text);  // adds an entry to the history

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null where standard input is no terminal
};

// Where the history of chats is kept: $XDG_STATE_HOME/metallic/history (~/.local/state by default); empty if there is
// no home.
std::string default_history_path();

}  // namespace metallic::cli
