// The options that say how much memory a model may take, and where its parts should be.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "metallic/engine.h"
#include "metallic/result.h"

namespace metallic::cli {

// "4G", "512M", "1.5GiB", "800000": bytes; K, M, G and T are powers of 1024. None if it is no size above 0.
std::optional<uint64_t> parse_size(const std::string& text);

// Adds --gpu-memory, --ram, -ngl, --kv-offload, --kv-memory, --kv-swap and --fit.
void add_memory_options(CLI::App& command, MemoryOptions& options);

}  // namespace metallic::cli
