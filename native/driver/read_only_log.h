// A log seen from outside: takes no lock, writes nothing. Beside a running writer it shows records
// up to the highest durable watermark that can be read; without one, everything that recovery would
// accept.
#pragma once

#include <mutex>

#include "driver/catalog.h"
#include "driver/log.h"
#include "driver/source.h"

namespace stonelog::driver {

class ReadOnlyLog final : public Source {
 public:
  static Status open(io::FileSystem& fs, const OpenOptions& options, ReadOnlyLog** log,
                     log::RecoveryReport* report);

  uint64_t epoch();
  // Levels and the path to the device; nothing is counted, since nothing is written.
  LogStats stats();

  io::FileSystem& file_system() override { return fs_; }
  std::string segment_path(uint64_t sequence) const override;
  bool direct() const override { return probe_.direct; }
  ReadStart start_of(uint64_t lsn) override;
  bool segment_holding(uint64_t lsn, ReadableSegment* out) override;
  bool segment_now(uint64_t sequence, ReadableSegment* out) override;
  bool segment_after(uint64_t sequence, ReadableSegment* out) override;
  uint64_t first_lsn() override;
  uint64_t durable_lsn() override;
  std::vector<format::Hole> holes() override;
  bool skips_damage() const override { return options_.policy.damage == log::OnDamage::skip; }
  Status refresh() override;

 private:
  ReadOnlyLog(io::FileSystem& fs, const OpenOptions& options) : fs_(fs), options_(options) {}
  Status look(log::RecoveryReport* report);

  io::FileSystem& fs_;
  const OpenOptions options_;
  io::Probe probe_;
  std::mutex mutex_;  // guards what follows
  std::mutex refresh_mutex_;
  Catalog catalog_;
  format::ControlState state_;
  uint64_t durable_lsn_ = 0;
  uint64_t shown_epoch_ = 0;  // the highest epoch that a look found
  bool live_ = false;
  uint64_t looked_at_ns_ = 0;
};

// Scans everything, changes nothing, also beside a running writer.
Status verify(io::FileSystem& fs, const std::string& directory, io::DirectIo direct_io,
              log::RecoveryReport* report);

}  // namespace stonelog::driver
