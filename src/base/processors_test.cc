#include "base/processors.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <thread>

#include "base/thread_pool.h"

namespace metallic {
namespace {

namespace fs = std::filesystem;

class Processors : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_); }
  void TearDown() override {
    fs::remove_all(root_);
    ::unsetenv("HWLOC_SYNTHETIC");
    ::unsetenv("METALLIC_PIN");
  }

  int cores_with_limit(const std::string& cpu_max) const {
    std::ofstream(root_ / "cpu.max") << cpu_max << "\n";
    return available_cores(root_.string());
  }

  const fs::path root_ = fs::temp_directory_path() / ("metallic-processors-" + std::to_string(::getpid()));
};

TEST_F(Processors, EachBelongsToOneCore) {
  std::vector<int> all;
  for (const std::vector<int>& core : available_core_processors()) {
    EXPECT_FALSE(core.empty());
    all.insert(all.end(), core.begin(), core.end());
  }
  std::sort(all.begin(), all.end());
  EXPECT_EQ(std::unique(all.begin(), all.end()), all.end());
  EXPECT_EQ(int(all.size()), available_processors());
}

TEST_F(Processors, SiblingsOfOneCoreCountOnce) {
  std::vector<int> all(CPU_SETSIZE);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(available_cores(root_.string(), {all}), 1);
  EXPECT_EQ(int(available_core_processors({all}).at(0).size()), available_processors());
  EXPECT_EQ(available_cores(root_.string(), {{}, {CPU_SETSIZE + 1}}), available_processors());
}

#ifdef METALLIC_HAS_HWLOC
TEST_F(Processors, CoresAreThoseOfHwloc) {
  ::setenv("HWLOC_SYNTHETIC", "package:2 core:2 pu:2(indexes=0,4,1,5,2,6,3,7)", 1);
  EXPECT_EQ(find_cores(), (Cores{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
}
#endif

TEST_F(Processors, AContainersTimeIsTheMost) {
  const int cores = available_cores(root_.string());
  EXPECT_EQ(cores_with_limit("50000 100000"), 1);
  EXPECT_EQ(cores_with_limit("100000000 100000"), cores);
}

TEST_F(Processors, WhatIsNoLimitIsNone) {
  const int cores = available_cores(root_.string());
  for (const char* text : {"max 100000", "", "0 100000", "-5 100000", "100000 0", "garbage"})
    EXPECT_EQ(cores_with_limit(text), cores) << text;
}

TEST_F(Processors, ACoreIsLeftBesideAGpuUnlessAskedOtherwise) {
  EXPECT_EQ(threads_beside_gpu(0), std::max(1, available_cores() - 1));
  EXPECT_EQ(threads_beside_gpu(3), 3);
}

// Which logical processors each thread of a pool may run on; the caller's own first.
std::vector<cpu_set_t> threads_processors(int threads) {
  ThreadPool pool(threads);
  std::vector<cpu_set_t> sets(size_t(pool.size()));
  std::atomic<int> failed{0};
  pool.run([&](int thread, int) { failed += ::sched_getaffinity(0, sizeof(cpu_set_t), &sets[size_t(thread)]) != 0; });
  EXPECT_EQ(failed, 0);
  return sets;
}

TEST_F(Processors, WorkersStayOnACoreEachIfTheyTakeAll) {
  const auto cores = available_core_processors();
  if (cores.size() < 2) GTEST_SKIP() << "one core: no workers";
  const auto sets = threads_processors(int(cores.size()));
  for (size_t thread = 1; thread < cores.size(); ++thread) {
    EXPECT_EQ(CPU_COUNT(&sets[thread]), int(cores[thread].size()));
    for (const int processor : cores[thread]) EXPECT_TRUE(CPU_ISSET(size_t(processor), &sets[thread]));
  }
  EXPECT_EQ(CPU_COUNT(&sets[0]), available_processors()) << "the caller's thread is its own affair";
}

TEST_F(Processors, WorkersMoveFreelyOtherwise) {
  const int processors = available_processors();
  for (const cpu_set_t& set : threads_processors(processors + 1)) EXPECT_EQ(CPU_COUNT(&set), processors);
  ::setenv("METALLIC_PIN", "0", 1);
  for (const cpu_set_t& set : threads_processors(int(available_core_processors().size())))
    EXPECT_EQ(CPU_COUNT(&set), processors);
}

TEST_F(Processors, ABindingThatNoProcessorIsInIsRefused) {
  std::thread([] {
    EXPECT_FALSE(bind_this_thread({}));
    EXPECT_FALSE(bind_this_thread({-1, CPU_SETSIZE}));
    EXPECT_TRUE(bind_this_thread(available_core_processors().at(0)));
  }).join();
}

}  // namespace
}  // namespace metallic
