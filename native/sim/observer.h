// A second process that examines the directory while the writer works: between any two of its calls
// the writer goes on. Whatever would change a file is refused and remembered.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "io/file.h"

namespace stonelog::sim {

class Observer final : public io::FileSystem {
 public:
  Observer(io::FileSystem& inner, std::function<void()> meanwhile)
      : inner_(inner), meanwhile_(std::move(meanwhile)) {}

  // What it tried to change; empty: nothing.
  const std::string& trespass() const { return trespass_; }

  Status open(const std::string& path, io::Access access, bool direct, uint32_t mode,
              std::unique_ptr<io::File>* file) override;
  Status list(const std::string& path, std::vector<std::string>* names) override {
    meanwhile_();
    return inner_.list(path, names);
  }
  Status rename(const std::string& from, const std::string&) override { return refuse(from); }
  Status unlink(const std::string& path) override { return refuse(path); }
  Status make_directory(const std::string& path, bool*) override { return refuse(path); }
  Status sync_directory(const std::string& path) override { return refuse(path); }
  Status lock(const std::string& path, uint32_t, std::unique_ptr<io::Lock>*) override {
    return refuse(path);
  }
  Status free_bytes(const std::string& path, uint64_t* bytes) override {
    return inner_.free_bytes(path, bytes);
  }
  Status identity(const std::string& path, uint64_t* device, uint64_t* inode) override {
    return inner_.identity(path, device, inode);
  }
  Status probe(const std::string& path, io::DirectIo wish, bool, io::Probe* probe) override {
    return inner_.probe(path, wish, false, probe);
  }
  Status is_locked(const std::string&, bool* locked, uint64_t* pid) override {
    *locked = true;
    *pid = 1;
    return {};
  }
  uint64_t random64() override { return inner_.random64(); }
  uint64_t wall_micros() override { return inner_.wall_micros(); }

 private:
  friend class ObservedFile;
  Status refuse(const std::string& path) {
    trespass_ = path;
    return Status::of(Code::read_only, "an observer changes nothing");
  }

  io::FileSystem& inner_;
  std::function<void()> meanwhile_;
  std::string trespass_;
};

}  // namespace stonelog::sim
