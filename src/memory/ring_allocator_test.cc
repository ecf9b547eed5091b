// Places in the ring under random orders of giving and taking back.
#include "memory/ring_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace metallic {
namespace {

struct Held {
  uint64_t offset, size;
};

TEST(RingAllocator, PlacesNeverOverlapAndLessThanTheLargestIsLost) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    const uint64_t largest = 1 + random() % 50, bytes = 2 * largest + random() % 200;
    RingAllocator ring(bytes);
    std::deque<Held> held;
    for (int step = 0; step < 2000; ++step) {
      if (!held.empty() && random() % 2 == 0) {
        ring.free_oldest();
        held.pop_front();
        continue;
      }
      const uint64_t size = 1 + random() % largest;
      const auto offset = ring.allocate(size);
      uint64_t used = 0;
      for (const Held& each : held) used += each.size;
      ASSERT_EQ(ring.used(), used + (offset ? size : 0));
      if (!offset) {
        // Refused: the free bytes are fewer than the place and what the end of the ring may lose.
        ASSERT_LT(bytes - used, size + largest) << "seed " << seed << " step " << step;
        continue;
      }
      ASSERT_LE(*offset + size, bytes);
      for (const Held& each : held)
        ASSERT_TRUE(*offset + size <= each.offset || each.offset + each.size <= *offset) << "seed " << seed;
      held.push_back({*offset, size});
    }
  }
}

TEST(RingAllocator, HasRoomForOneMoreWhileOneIsHeld) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    std::mt19937 random(seed);
    const uint64_t largest = 1 + random() % 50;
    RingAllocator ring(2 * largest);
    for (int step = 0; step < 500; ++step) {
      if (!ring.allocate(1 + random() % largest)) {
        ring.free_oldest();
        continue;
      }
      // One is held: the next fits as soon as all before it are gone.
      while (ring.used() > largest) ring.free_oldest();
    }
    ring.clear();
    EXPECT_EQ(ring.allocate(2 * largest), 0u);
  }
}

TEST(RingAllocator, TakesNothingLargerThanItself) {
  RingAllocator ring(10);
  EXPECT_FALSE(ring.allocate(11));
  EXPECT_EQ(ring.allocate(10), 0u);
  EXPECT_FALSE(ring.allocate(1));
  ring.free_oldest();
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.allocate(3), 0u);
}

}  // namespace
}  // namespace metallic
