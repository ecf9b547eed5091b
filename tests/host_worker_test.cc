#include "memory/host_worker.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/fake_device.h"

namespace metallic {
namespace {

using testing::FakeDevice;

TEST(HostWorkers, WorkInOrderAndAnswerEach) {
  FakeDevice device;
  HostWorker worker(device);
  std::vector<int> done;
  for (int i = 0; i < 100; ++i) {
    const uint64_t number = device.ask();
    worker.add(number, [&done, i] { done.push_back(i); });
    device.wait_for_answer(number);
    ASSERT_EQ(done.size(), size_t(i) + 1);
  }
  worker.finish();
  EXPECT_FALSE(worker.take_dropped());
  EXPECT_TRUE(worker.is_done());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(done[size_t(i)], i);
}

TEST(HostWorkers, BeginWhenTheyAreAsked) {
  FakeDevice device;
  HostWorker worker(device);
  std::atomic<bool> asked = false, seen = false;
  worker.add(1, [&] { seen = asked.load(); });
  asked = true;
  EXPECT_EQ(device.ask(), 1u);
  device.wait_for_answer(1);
  EXPECT_TRUE(seen);
}

TEST(HostWorkers, AnswerWithoutWorkWhatADeviceNeverComesTo) {
  FakeDevice device;
  HostWorker worker(device);
  std::atomic<int> done = 0;
  for (uint64_t number = 1; number <= 3; ++number) worker.add(number, [&] { ++done; });
  worker.finish();
  EXPECT_TRUE(worker.take_dropped());
  EXPECT_EQ(done, 0);
  device.wait_for_answer(3);
  worker.add(4, [&] { ++done; });  // the next step
  for (uint64_t number = 1; number <= 4; ++number) EXPECT_EQ(device.ask(), number);
  device.wait_for_answer(4);
  worker.finish();
  EXPECT_FALSE(worker.take_dropped());
  EXPECT_EQ(done, 1);
}

TEST(HostWorkers, AreWaitedForAsleep) {
  FakeDevice device;
  HostWorker worker(device);
  std::atomic<int> done = 0;
  const uint64_t number = device.ask();
  worker.add(number, [&] { ++done; });
  worker.rest();
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(worker.is_done());
  worker.add(number + 1, [&] { ++done; });  // nobody asks for it
  worker.rest();
  EXPECT_FALSE(worker.is_done());
  worker.finish();
  EXPECT_TRUE(worker.take_dropped());
  EXPECT_EQ(done, 1);
}

TEST(HostWorkers, LeaveWithoutWaitingForADevice) {
  FakeDevice device;
  std::atomic<int> done = 0;
  {
    HostWorker worker(device);
    worker.add(1, [&] { ++done; });
  }
  EXPECT_EQ(done, 0);
}

}  // namespace
}  // namespace metallic
