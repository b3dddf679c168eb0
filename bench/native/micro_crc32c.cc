// CRC32C by size and variant, beside the plain table that a C++ textbook has.
#include <benchmark/benchmark.h>

#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "crc32c/crc32c.h"

namespace {

using stonelog::crc32c::Variant;

constexpr uint32_t kPolynomial = 0x82F63B78;  // reflected

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

// One byte at a time (Sarwate 1988): what every variant must agree with, and be faster than.
uint32_t extend_by_table(uint32_t crc, const uint8_t* data, size_t size) {
  crc = ~crc;
  for (size_t i = 0; i < size; i++) crc = (crc >> 8) ^ kTable[(crc ^ data[i]) & 0xFF];
  return ~crc;
}

std::vector<uint8_t> some_bytes(size_t size) {
  std::vector<uint8_t> bytes(size);
  uint32_t state = 1;
  for (uint8_t& byte : bytes)
    byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  return bytes;
}

void extend(benchmark::State& state, uint32_t (*function)(uint32_t, const uint8_t*, size_t)) {
  const std::vector<uint8_t> bytes = some_bytes(static_cast<size_t>(state.range(0)));
  if (function(0, bytes.data(), bytes.size()) != extend_by_table(0, bytes.data(), bytes.size())) {
    state.SkipWithError("differs from the table's result");
    return;
  }
  for (auto _ : state) benchmark::DoNotOptimize(function(0, bytes.data(), bytes.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// The stamps of a group: 508 bytes of each sector.
void many(benchmark::State& state, const Variant* variant) {
  const auto count = static_cast<size_t>(state.range(0));
  const std::vector<uint8_t> bytes = some_bytes(count * 512);
  std::vector<uint32_t> sums(count);
  for (auto _ : state) {
    variant->many(bytes.data(), 512, 508, count, sums.data());
    benchmark::DoNotOptimize(sums.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(count) * 508);
}

const bool registered = [] {
  const auto sizes = [](benchmark::internal::Benchmark* one) {
    for (const int64_t size : {16, 100, 500, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20})
      one->Arg(size);
  };
  sizes(benchmark::RegisterBenchmark("crc32c/table", extend, &extend_by_table));
  size_t count = 0;
  const Variant* variants = stonelog::crc32c::variants(&count);
  for (size_t i = 0; i < count; i++) {
    const Variant& variant = variants[i];
    if (!variant.supported) continue;
    const std::string name = std::string("crc32c/") + variant.name;
    sizes(benchmark::RegisterBenchmark(name.c_str(), extend, variant.extend));
    if (variant.many == nullptr) continue;
    const std::string stamps = std::string("stamps/") + variant.name;
    benchmark::RegisterBenchmark(stamps.c_str(), many, &variant)->Arg(8)->Arg(64)->Arg(2048);
  }
  return true;
}();

}  // namespace
