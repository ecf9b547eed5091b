#include "cli/interrupt.h"

#include <csignal>

namespace metallic::cli {
namespace {

volatile std::sig_atomic_t interrupted = 0;
struct sigaction previous_action;

void on_interrupt(int) {
  if (interrupted != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  interrupted = 1;
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: reading a line must come back
  ::sigaction(SIGINT, &action, &previous_action);
}

InterruptGuard::~InterruptGuard() { ::sigaction(SIGINT, &previous_action, nullptr); }

bool InterruptGuard::pending() { return interrupted != 0; }

bool InterruptGuard::take() {
  const bool was = interrupted != 0;
  interrupted = 0;
  return was;
}

}  // namespace metallic::cli
