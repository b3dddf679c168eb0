// What crc32c.cc dispatches to. Each file of a variant defines its functions only where the
// compiler's target has the instructions at all; whether the running processor has them is asked by
// `*_supported`.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stonelog::crc32c {

using Extend = uint32_t (*)(uint32_t crc, const uint8_t* data, size_t size);
using ExtendU64 = uint32_t (*)(uint32_t crc, uint64_t value);
using ExtendU32 = uint32_t (*)(uint32_t crc, uint32_t value);
using Many = void (*)(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);

uint32_t extend_portable(uint32_t crc, const uint8_t* data, size_t size);
uint32_t extend_u64_portable(uint32_t crc, uint64_t value);
uint32_t extend_u32_portable(uint32_t crc, uint32_t value);
void many_portable(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);

#if defined(__x86_64__)
#define STONELOG_CRC32C_X86 1
bool sse42_supported();
uint32_t extend_sse42(uint32_t crc, const uint8_t* data, size_t size);
uint32_t extend_u64_sse42(uint32_t crc, uint64_t value);
uint32_t extend_u32_sse42(uint32_t crc, uint32_t value);
void many_sse42(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);

bool pclmul_supported();
uint32_t extend_pclmul(uint32_t crc, const uint8_t* data, size_t size);

bool vpclmul_supported();
uint32_t extend_vpclmul(uint32_t crc, const uint8_t* data, size_t size);
void many_vpclmul(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define STONELOG_CRC32C_ARM 1
bool armv8_supported();
uint32_t extend_armv8(uint32_t crc, const uint8_t* data, size_t size);
uint32_t extend_u64_armv8(uint32_t crc, uint64_t value);
uint32_t extend_u32_armv8(uint32_t crc, uint32_t value);
void many_armv8(const uint8_t* base, size_t stride, size_t size, size_t count, uint32_t* out);
#endif

}  // namespace stonelog::crc32c
