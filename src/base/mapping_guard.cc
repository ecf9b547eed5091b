#include "base/mapping_guard.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <utility>

namespace metallic {

// The signal handler walks these without a lock, so that they are never freed, only used again.
struct MappingGuard::Node {
  std::atomic<uintptr_t> begin = 0;  // 0: not in use
  std::atomic<uintptr_t> end = 0;
  std::atomic<bool> damaged = false;
  Node* next = nullptr;
};

namespace {

std::mutex g_mutex;  // of those who change the list
std::atomic<MappingGuard::Node*> g_nodes = nullptr;
struct sigaction g_previous;
uintptr_t g_page_bytes = 0;
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

// Only calls that are safe in a signal handler. mmap() is not on the list of POSIX but a plain system call on Linux.
bool replace_by_zeros(uintptr_t address) {
  for (MappingGuard::Node* node = g_nodes.load(std::memory_order_acquire); node != nullptr; node = node->next) {
    const uintptr_t begin = node->begin.load(std::memory_order_acquire);
    const uintptr_t end = node->end.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= end) continue;
    const uintptr_t page = address / g_page_bytes * g_page_bytes;
    node->damaged.store(true, std::memory_order_release);
    return ::mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
  }
  return false;
}

void pass_on(int number, siginfo_t* info, void* context) {
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) return g_previous.sa_sigaction(number, info, context);
  const bool sent_by_process = info->si_code <= 0;
  if (g_previous.sa_handler == SIG_IGN && sent_by_process) return;
  if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) return g_previous.sa_handler(number);
  ::signal(number, SIG_DFL);
  ::raise(number);  // delivered when the handler returns
}

void handle(int number, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  const bool ours = info->si_code == BUS_ADRERR && replace_by_zeros(reinterpret_cast<uintptr_t>(info->si_addr));
  if (!ours) pass_on(number, info, context);
  errno = saved_errno;
}

void install_handler() {
  g_page_bytes = uintptr_t(::sysconf(_SC_PAGESIZE));
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, &g_previous);
}

// An unused node, new if there is none. Called under the mutex.
MappingGuard::Node* take_node() {
  for (MappingGuard::Node* node = g_nodes.load(); node != nullptr; node = node->next)
    if (node->begin.load() == 0) return node;
  auto* node = new MappingGuard::Node;
  node->next = g_nodes.load();
  g_nodes.store(node, std::memory_order_release);
  return node;
}

}  // namespace

MappingGuard::MappingGuard(const std::byte* begin, size_t size) {
  static std::once_flag once;
  std::call_once(once, install_handler);
  const std::lock_guard lock(g_mutex);
  node_ = take_node();
  node_->damaged.store(false);
  node_->end.store(reinterpret_cast<uintptr_t>(begin) + size);
  node_->begin.store(reinterpret_cast<uintptr_t>(begin), std::memory_order_release);
}

MappingGuard::MappingGuard(MappingGuard&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}

MappingGuard& MappingGuard::operator=(MappingGuard&& other) noexcept {
  std::swap(node_, other.node_);
  return *this;
}

MappingGuard::~MappingGuard() {
  if (node_ == nullptr) return;
  const std::lock_guard lock(g_mutex);
  node_->begin.store(0, std::memory_order_release);
}

bool MappingGuard::damaged() const { return node_ != nullptr && node_->damaged.load(std::memory_order_acquire); }

}  // namespace metallic
