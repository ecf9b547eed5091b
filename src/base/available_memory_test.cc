#include "base/available_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace metallic {
namespace {

TEST(AvailableMemory, IsSomeAndNoMoreThanTheMachineHas) {
  const uint64_t installed = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  EXPECT_GT(available_memory(), 0u);
  EXPECT_LE(available_memory(), installed);
  EXPECT_GT(own_memory(), 0u);
  EXPECT_LE(own_memory(), installed);
  EXPECT_GE(memory_stalls(), 0);
  EXPECT_LE(memory_stalls(), 1);
}

// A machine of our own making, below a folder that goes with it.
class MadeUpMachine : public ::testing::Test {
 protected:
  MadeUpMachine()
      : root_(std::filesystem::temp_directory_path() / ("metallic-memory-" + std::to_string(::getpid()))),
        files_{(root_ / "proc").string(), (root_ / "groups").string()} {}
  ~MadeUpMachine() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  void has_available(uint64_t kilobytes) {
    write("proc/meminfo", "MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: " + std::to_string(kilobytes) + " kB\n");
  }
  uint64_t available() const { return available_memory(files_); }
  uint64_t own() const { return own_memory(files_); }
  double stalls() const { return memory_stalls(files_); }

 private:
  const std::filesystem::path root_;
  const MemoryFiles files_;
};

TEST_F(MadeUpMachine, WithoutControlGroupsGivesWhatIsAvailable) {
  EXPECT_EQ(available(), 0u);  // nothing is known
  EXPECT_EQ(stalls(), 0);
  has_available(1000);
  EXPECT_EQ(available(), 1000u << 10);
}

TEST_F(MadeUpMachine, AGroupsLimitCountsWithoutItsCachedFiles) {
  has_available(1000);
  write("proc/self/cgroup", "0::/\n");
  write("groups/memory.max", "600000\n");
  write("groups/memory.current", "500000\n");
  EXPECT_EQ(available(), 100000u);
  write("groups/memory.stat", "anon 400000\ninactive_file 60000\nactive_file 40000\n");
  EXPECT_EQ(available(), 200000u);
  write("groups/memory.max", "max\n");
  EXPECT_EQ(available(), 1000u << 10);
}

TEST_F(MadeUpMachine, TheTightestOfTheGroupsAroundCounts) {
  has_available(1000);
  write("proc/self/cgroup", "1:name=systemd:/\n0::/a.slice/b.scope\n");
  write("groups/a.slice/memory.max", "300000\n");
  write("groups/a.slice/memory.current", "250000\n");
  write("groups/a.slice/b.scope/memory.max", "900000\n");
  write("groups/a.slice/b.scope/memory.current", "100000\n");
  EXPECT_EQ(available(), 50000u);
  write("groups/a.slice/b.scope/memory.max", "120000\n");
  EXPECT_EQ(available(), 20000u);
  write("proc/self/cgroup", "0::/a.slice/that/is/not/mounted\n");
  EXPECT_EQ(available(), 50000u);
}

TEST_F(MadeUpMachine, VersionOneCountsToo) {
  has_available(1000);
  write("proc/self/cgroup", "12:cpu,memory:/docker/c\n11:memoryless:/x\n0::/y\n");
  write("groups/memory/docker/c/memory.limit_in_bytes", "400000\n");
  write("groups/memory/docker/c/memory.usage_in_bytes", "390000\n");
  write("groups/memory/docker/c/memory.stat", "inactive_file 1\ntotal_inactive_file 5000\ntotal_active_file 2000\n");
  write("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("groups/memory/memory.usage_in_bytes", "400000\n");
  EXPECT_EQ(available(), 17000u);
}

TEST_F(MadeUpMachine, WhereNothingIsLeftThatIsNotTakenForUnknown) {
  has_available(1000);
  write("groups/memory.max", "600000\n");
  write("groups/memory.current", "700000\n");
  EXPECT_EQ(available(), 1u);
}

TEST_F(MadeUpMachine, WhatOthersShareIsNotOwn) {
  EXPECT_EQ(own(), 0u);
  write("proc/self/statm", "900 700 200 1 0 100 0\n");
  EXPECT_EQ(own(), 500u * uint64_t(::sysconf(_SC_PAGESIZE)));
}

TEST_F(MadeUpMachine, StallsAreThoseOfTheGroupOrElseOfTheMachine) {
  write("proc/pressure/memory", "some avg10=12.50 avg60=1.00 avg300=0.10 total=9\nfull avg10=1.00 avg60=0.1 total=3\n");
  EXPECT_DOUBLE_EQ(stalls(), 0.125);
  write("groups/memory.pressure", "some avg10=3.00 avg60=1.00 avg300=0.10 total=9\n");
  EXPECT_DOUBLE_EQ(stalls(), 0.03);
  write("groups/memory.pressure", "nonsense");
  EXPECT_DOUBLE_EQ(stalls(), 0.125);
}

}  // namespace
}  // namespace metallic
