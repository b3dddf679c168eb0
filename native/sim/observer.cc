#include "sim/observer.h"

#include "sim/simulation.h"

namespace stonelog::sim {

class ObservedFile final : public io::File {
 public:
  ObservedFile(Observer& observer, std::string path, std::unique_ptr<io::File> inner)
      : observer_(observer), path_(std::move(path)), inner_(std::move(inner)) {}

  Status read(uint64_t offset, uint8_t* data, size_t size, size_t* got) override {
    observer_.meanwhile_();
    return inner_->read(offset, data, size, got);
  }
  Status size(uint64_t* bytes) override {
    observer_.meanwhile_();
    return inner_->size(bytes);
  }
  Status write(uint64_t, const io::Part*, int, io::WriteMode) override {
    return observer_.refuse(path_);
  }
  Status sync() override { return observer_.refuse(path_); }
  Status reserve(uint64_t, bool*) override { return observer_.refuse(path_); }
  Status punch(uint64_t, uint64_t) override { return observer_.refuse(path_); }
  Status evict() override { return observer_.refuse(path_); }

 private:
  Observer& observer_;
  const std::string path_;
  std::unique_ptr<io::File> inner_;
};

Status Observer::open(const std::string& path, io::Access access, bool direct, uint32_t mode,
                      std::unique_ptr<io::File>* file) {
  meanwhile_();
  if (access != io::Access::read) return refuse(path);
  std::unique_ptr<io::File> inner;
  Status status = inner_.open(path, access, direct, mode, &inner);
  if (!status.ok()) return status;
  *file = std::make_unique<ObservedFile>(*this, path, std::move(inner));
  return {};
}

namespace {

// What met the writer in the middle of something is looked at again, as the driver does it.
constexpr int kLooks = 8;

}  // namespace

// Ensures that a reader beside the writer takes nothing for damage, shows nothing that is not
// acknowledged, and changes nothing.
void Simulation::observe() {
  if (observing_ || fs_.crashed() || engine_->closed()) return;
  observing_ = true;
  const uint64_t began = counters_.steps;
  const uint64_t faults = fs_.faults_fired();
  const uint64_t pace = random_.below(4);  // 0: the writer stands still
  Observer observer(fs_, [&] {
    for (uint64_t i = random_.below(1 + pace * 8); i > 0 && may_step(); i--) step();
  });
  log::RecoveryPolicy policy;
  policy.live = true;
  policy.sync = false;
  policy.scan_all = random_.chance(20);
  log::Examination examination;
  Status status;
  for (int look = 0; look < kLooks; look++) {
    for (int i = 0; look > 0 && i < 40 && may_step(); i++) step();
    examination = {};
    status = log::examine(observer, kDirectory, fs_.probe_result, policy, &examination);
    const bool corrupt = examination.report.verdict == log::Verdict::corrupt;
    if (status.code != Code::not_found && !corrupt) break;
    coverage_.add("looks repeated");
  }
  observing_ = false;
  if (!good() || fs_.crashed()) return;
  coverage_.add("looks beside the writer");
  if (counters_.steps > began) coverage_.add("looks during which it wrote");
  if (!observer.trespass().empty())
    return model_.fail("a reader beside the writer changes " + observer.trespass());
  if (status.code == Code::not_found) {  // released each time between its name and its first read
    coverage_.add("segments released under a look");
    return;
  }
  if (fs_.faults_fired() > faults) return;
  if (!status.ok()) {
    say("seen beside the writer: " + describe_examination(examination));
    return model_.fail("beside the writer: " + describe_status(status));
  }
  coverage_.add("records seen beside the writer",
                model_.check_seen(fs_, fs_.probe_result, examination));
}

}  // namespace stonelog::sim
