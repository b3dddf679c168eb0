#include "crc32c/crc32c.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "crc32c/polynomial.h"

using stonelog::crc32c::Variant;

namespace {

// Bit by bit, straight from the definition: shares nothing with the variants but the polynomial.
uint32_t reference(uint32_t crc, const uint8_t* data, size_t size) {
  crc = ~crc;
  for (size_t index = 0; index < size; index++) {
    crc ^= data[index];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

std::vector<uint8_t> noise(size_t size, uint32_t seed = 1) {
  std::vector<uint8_t> bytes(size);
  for (uint8_t& byte : bytes) {
    seed = seed * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(seed >> 24);
  }
  return bytes;
}

template <typename Test>
void for_each_variant(Test test) {
  size_t count = 0;
  const Variant* all = stonelog::crc32c::variants(&count);
  for (size_t index = 0; index < count; index++) {
    if (!all[index].supported) continue;
    CAPTURE(std::string(all[index].name));
    test(all[index]);
  }
}

// A copy of exactly `size` bytes at `misalignment`, so that the address sanitizer sees a read
// beyond it.
struct Exact {
  std::vector<uint8_t> bytes;
  const uint8_t* data;
  Exact(const std::vector<uint8_t>& source, size_t size, size_t misalignment)
      : bytes(misalignment + size) {
    std::copy(source.begin(), source.begin() + static_cast<ptrdiff_t>(size),
              bytes.begin() + static_cast<ptrdiff_t>(misalignment));
    data = bytes.data() + misalignment;
  }
};

}  // namespace

TEST_CASE("wrong polynomial, initial value or byte order") {
  // ensures that every variant is the CRC of RFC 3720, appendix B.4, and of the usual check string
  std::vector<uint8_t> rising(32), falling(32);
  for (uint8_t index = 0; index < 32; index++) {
    rising[index] = index;
    falling[index] = static_cast<uint8_t>(31 - index);
  }
  const std::vector<uint8_t> read_command = {
      0x01, 0xC0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
      0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
      0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
  const std::string check = "123456789";
  for_each_variant([&](const Variant& variant) {
    CHECK(variant.extend(0, std::vector<uint8_t>(32, 0x00).data(), 32) == 0x8A9136AA);
    CHECK(variant.extend(0, std::vector<uint8_t>(32, 0xFF).data(), 32) == 0x62A8AB43);
    CHECK(variant.extend(0, rising.data(), 32) == 0x46DD794E);
    CHECK(variant.extend(0, falling.data(), 32) == 0x113FDB5C);
    CHECK(variant.extend(0, read_command.data(), read_command.size()) == 0xD9963A56);
    CHECK(variant.extend(0, reinterpret_cast<const uint8_t*>(check.data()), 9) == 0xE3069283);
    CHECK(variant.extend(0, nullptr, 0) == 0);
    CHECK(variant.extend(0x12345678, nullptr, 0) == 0x12345678);
  });
}

TEST_CASE("a size class with a wrong tail, head or lane length") {
  // ensures that every size up to 2000 agrees with the definition and reads no byte beyond its end
  const std::vector<uint8_t> source = noise(2000);
  for (size_t size = 0; size <= 2000; size++) {
    const uint32_t expected = reference(0xDEADBEEF, source.data(), size);
    const Exact exact(source, size, 0);
    for_each_variant([&](const Variant& variant) {
      const uint32_t got = variant.extend(0xDEADBEEF, exact.data, size);
      if (got != expected) FAIL_CHECK("size " << size << " of " << variant.name);
    });
  }
}

TEST_CASE("unaligned starts") {
  // ensures that the address of the data changes neither the result nor the bytes touched
  const std::vector<uint8_t> source = noise(5000);
  for (const size_t size : {1u, 7u, 64u, 100u, 255u, 256u, 508u, 777u, 1024u, 4096u, 5000u}) {
    const uint32_t expected = reference(0, source.data(), size);
    for (size_t misalignment = 0; misalignment < 65; misalignment++) {
      const Exact exact(source, size, misalignment);
      for_each_variant([&](const Variant& variant) {
        const uint32_t got = variant.extend(0, exact.data, size);
        if (got != expected)
          FAIL_CHECK(size << " bytes at " << misalignment << ", " << variant.name);
      });
    }
  }
}

TEST_CASE("a CRC continued at any byte") {
  // ensures that extend(extend(0, a), b) == extend(0, a + b) for all split points
  for (const size_t size : {100u, 777u, 4500u}) {
    const std::vector<uint8_t> source = noise(size, 7);
    const uint32_t expected = reference(0, source.data(), size);
    for (size_t split = 0; split <= size; split++) {
      for_each_variant([&](const Variant& variant) {
        const uint32_t head = variant.extend(0, source.data(), split);
        const uint32_t got = variant.extend(head, source.data() + split, size - split);
        if (got != expected)
          FAIL_CHECK("split " << split << " of " << size << ", " << variant.name);
      });
    }
  }
}

TEST_CASE("large data") {
  // ensures that the bulk loops agree with the definition, with odd sizes around their lane lengths
  const std::vector<uint8_t> source = noise((1 << 20) + 77, 3);
  for (const size_t size :
       {3071u, 3072u, 3073u, 6143u, 6144u, 6145u, 65536u, 65599u, 1048576u, 1048653u}) {
    const uint32_t expected = reference(1, source.data(), size);
    for_each_variant([&](const Variant& variant) {
      CAPTURE(size);
      CHECK(variant.extend(1, source.data(), size) == expected);
    });
  }
}

TEST_CASE("pieces mixed up when several run at once") {
  // ensures that `many` gives each piece the CRC it has alone, for every remainder of the
  // interleaving
  const std::vector<uint8_t> source = noise(40 * 512, 5);
  for (const size_t size : {0u, 1u, 7u, 8u, 12u, 60u, 100u, 255u, 300u, 508u, 511u, 512u}) {
    for (size_t count = 0; count <= 17; count++) {
      const Exact exact(source, count == 0 ? 0 : (count - 1) * 512 + size, 3);
      for_each_variant([&](const Variant& variant) {
        std::vector<uint32_t> out(count + 1, 0xABABABAB);
        variant.many(exact.data, 512, size, count, out.data());
        for (size_t index = 0; index < count; index++) {
          const uint32_t alone = reference(0, source.data() + index * 512, size);
          if (out[index] != alone) {
            FAIL_CHECK("piece " << index << " of " << count << ", size " << size << ", "
                                << variant.name);
          }
        }
        CHECK(out[count] == 0xABABABAB);
      });
    }
  }
}

TEST_CASE("a number checksummed in the machine's byte order") {
  // ensures that extend_u64 and extend_u32 take the little-endian bytes of their value
  const uint64_t value = 0x0123456789ABCDEF;
  const uint8_t bytes[8] = {0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01};
  CHECK(stonelog::crc32c::extend_u64(0, value) == reference(0, bytes, 8));
  CHECK(stonelog::crc32c::extend_u64(0xCAFEBABE, value) == reference(0xCAFEBABE, bytes, 8));
  const auto low = static_cast<uint32_t>(value);
  CHECK(stonelog::crc32c::extend_u32(0, low) == reference(0, bytes, 4));
  CHECK(stonelog::crc32c::extend_u32(0xCAFEBABE, low) == reference(0xCAFEBABE, bytes, 4));
}

TEST_CASE("a variant chosen that the processor does not have") {
  // ensures that the choice is a supported one, the wished one if it names one, and that it is in
  // use
  size_t count = 0;
  const Variant* all = stonelog::crc32c::variants(&count);
  REQUIRE(count >= 1);
  CHECK(std::string(all[0].name) == "portable");
  const char* wish = std::getenv("STONELOG_CRC32C");
  std::string expected;
  for (size_t index = 0; index < count; index++) {
    if (!all[index].supported) continue;
    expected = all[index].name;
    if (wish != nullptr && expected == wish) break;
  }
  CHECK(stonelog::crc32c::variant_name() == expected);
  const std::vector<uint8_t> source = noise(508 * 3);
  CHECK(stonelog::crc32c::extend(5, source.data(), source.size()) ==
        reference(5, source.data(), source.size()));
  uint32_t out[3];
  stonelog::crc32c::many(source.data(), 508, 508, 3, out);
  for (size_t index = 0; index < 3; index++)
    CHECK(out[index] == reference(0, &source[508 * index], 508));
}
