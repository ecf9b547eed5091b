#include "cli/line_editor.h"

#include <histedit.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "cli/interrupt.h"

namespace metallic::cli {
namespace {

constexpr int kHistorySize = 1000;

}  // namespace

struct LineEditor::Impl {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string history_path;
  std::string prompt;

  static char* prompt_of(EditLine* editor) {
    Impl* self = nullptr;
    el_get(editor, EL_CLIENTDATA, &self);
    return self->prompt.data();
  }
};

LineEditor::LineEditor(std::string history_path) {
  if (::isatty(STDIN_FILENO) == 0) return;
  // libedit needs a UTF-8 locale to move by characters.
  if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  impl_ = std::make_unique<Impl>();
  impl_->history_path = std::move(history_path);
  impl_->editor = el_init("metallic", stdin, stderr, stderr);
  impl_->history = history_init();
  if (impl_->editor == nullptr || impl_->history == nullptr) {
    if (impl_->editor != nullptr) el_end(impl_->editor);
    if (impl_->history != nullptr) history_end(impl_->history);
    impl_.reset();
    return;
  }
  HistEvent event;
  history(impl_->history, &event, H_SETSIZE, kHistorySize);
  history(impl_->history, &event, H_SETUNIQUE, 1);
  if (!impl_->history_path.empty()) history(impl_->history, &event, H_LOAD, impl_->history_path.c_str());
  el_set(impl_->editor, EL_CLIENTDATA, impl_.get());
  el_set(impl_->editor, EL_PROMPT, &Impl::prompt_of);
  el_set(impl_->editor, EL_EDITOR, "emacs");
  el_set(impl_->editor, EL_HIST, history, impl_->history);
  el_set(impl_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
}

LineEditor::~LineEditor() {
  if (!impl_) return;
  el_end(impl_->editor);
  history_end(impl_->history);
}

Line LineEditor::read(const char* prompt) {
  if (!impl_) {
    Line line;
    line.end = std::getline(std::cin, line.text) ? LineEnd::kLine : LineEnd::kEnd;
    if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
    return line;
  }
  impl_->prompt = prompt;
  int length = 0;
  errno = 0;
  const char* text = el_gets(impl_->editor, &length);
  if (text == nullptr || length <= 0) {
    if (!InterruptGuard::take()) return {LineEnd::kEnd, ""};
    el_reset(impl_->editor);
    std::fputc('\n', stderr);
    return {LineEnd::kInterrupted, ""};
  }
  std::string line(text, size_t(length));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return {LineEnd::kLine, std::move(line)};
}

void LineEditor::remember(const std::string& text) {
  if (!impl_ || text.empty()) return;
  HistEvent event;
  history(impl_->history, &event, H_ENTER, text.c_str());
  if (!impl_->history_path.empty()) history(impl_->history, &event, H_SAVE, impl_->history_path.c_str());
}

std::string default_history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  std::filesystem::path folder;
  if (state != nullptr && state[0] != '\0')
    folder = state;
  else if (home != nullptr && home[0] != '\0')
    folder = std::filesystem::path(home) / ".local" / "state";
  else
    return "";
  folder /= "metallic";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  return error ? "" : (folder / "history").string();
}

}  // namespace metallic::cli
