// What the core asks of the operating system besides files: pages of memory, sleeping on a word, a
// clock. One implementation for each system: host_linux.cc, host_darwin.cc, host_win32.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace stonelog::io {

enum class Commit : uint8_t { at_once, when_touched };

// Zeroed pages, null if there are none. `when_touched`: no promise of memory for all of them.
void* map_pages(size_t size, Commit commit);
void unmap_pages(void* pages, size_t size);
// A wish: without it all is as well, only slower.
void prefer_huge_pages(void* pages, size_t size);

// `alignment` a power of two, `size` a multiple of it; null if there is no memory.
void* allocate_aligned(size_t alignment, size_t size);
void free_aligned(void* memory);

uint64_t monotonic_ns();

// Sleeps while *word is `value`, until a wake, until the deadline of monotonic_ns (UINT64_MAX:
// none), or spuriously.
void sleep_on(std::atomic<uint32_t>* word, uint32_t value, uint64_t deadline_ns);
void wake_sleepers(std::atomic<uint32_t>* word, int count);  // 1, or INT32_MAX for all

// Signals are the application's: the calling thread takes none.
void block_signals();

// How long the calling thread would like to run at a time when others want the processor, too; its
// share stays the same. A thread with little to do at a time gets its turn sooner. A wish: most
// systems know no such thing.
void wish_time_slice(uint64_t ns);

}  // namespace stonelog::io
