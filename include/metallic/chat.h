// Chat templates: a conversation to the prompt that a model was trained on.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "metallic/result.h"

namespace metallic {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", "tool"
  std::string content;
};

struct ChatOptions {
  bool add_generation_prompt = true;  // ends where the assistant's answer begins
  std::string bos_token, eos_token;   // their texts
  std::string tools_json;             // a JSON array of tool definitions, or empty
  std::string variables_json;         // a JSON object of further template variables (enable_thinking, ...), or empty
};

// A compiled template in the subset of Jinja that language models' chat templates use. Immutable; safe from any thread.
class ChatTemplate {
 public:
  // kInvalidArgument or kUnsupported, with line and column and what is not understood.
  static Result<ChatTemplate> parse(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The prompt. A template's own raise_exception(...) comes back as kInvalidArgument; output, steps and depth are
  // limited.
  Result<std::string> render(std::span<const ChatMessage> messages, const ChatOptions& options) const;
  // The same for messages given as a JSON array (tool calls, content parts, ...).
  Result<std::string> render_json(std::string_view messages_json, const ChatOptions& options) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace metallic
