// Making checksums right in bytes that a fuzzer changed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stonelog::fuzz {

// The row of records at the beginning of `stream`, as far as their lengths can be followed: writes
// each one's chunk table and crc. Returns the body sum of them.
uint32_t mend_records(uint8_t* stream, size_t size, uint64_t first_lsn);

}  // namespace stonelog::fuzz
