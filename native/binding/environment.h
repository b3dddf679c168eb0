// What one Node environment (the main thread, or a worker) has open. It is the instance data of the
// addon and the data of each of its functions; used on the environment's thread only.
//
// Its end: worker.terminate() and process.exit() stop JavaScript between any two calls. The cleanup
// hook, which runs before Node frees anything of ours, closes the channel (so that no thread calls
// into the environment any more), then every log that is still open. Tasks under way own what they
// use and end by themselves.
#pragma once

#include <node_api.h>

#include <vector>

#include "binding/channel.h"
#include "binding/counted.h"
#include "binding/handle.h"

namespace stonelog::binding {

// Things by small integers: the place in the table, and above it how often the place was used, so
// that a stale id is recognized.
template <class T>
class Table {
 public:
  // The thing's id, above 0; 0 if the table is full.
  int32_t add(Ref<T> thing) {
    if (free_.empty()) {
      if (entries_.size() == kPlaces) return 0;
      free_.push_back(static_cast<uint32_t>(entries_.size()));
      entries_.emplace_back();
    }
    const uint32_t place = free_.back();
    free_.pop_back();
    Entry& entry = entries_[place];
    entry.uses = entry.uses % kMostUses + 1;
    entry.id = static_cast<int32_t>(entry.uses * kPlaces + place);
    entry.thing = std::move(thing);
    return entry.id;
  }
  T* find(int32_t id) const {
    const uint32_t place = static_cast<uint32_t>(id) % kPlaces;
    if (place >= entries_.size() || entries_[place].id != id) return nullptr;
    return entries_[place].thing.get();
  }
  void remove(int32_t id) {
    if (find(id) == nullptr) return;
    const uint32_t place = static_cast<uint32_t>(id) % kPlaces;
    entries_[place].thing = {};
    free_.push_back(place);
  }
  std::vector<Ref<T>> all() const {
    std::vector<Ref<T>> things;
    for (const Entry& entry : entries_) {
      if (entry.thing) things.push_back(entry.thing);
    }
    return things;
  }

 private:
  static constexpr uint32_t kPlaces = 1 << 16;
  static constexpr uint32_t kMostUses = (1 << 15) - 1;  // so that an id is a positive int32
  struct Entry {
    int32_t id = 0;
    uint32_t uses = 0;
    Ref<T> thing;
  };
  std::vector<Entry> entries_;
  std::vector<uint32_t> free_;
};

class Environment {
 public:
  explicit Environment(napi_env env) : env_(env), channel_(new Channel) {}
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  napi_env env() const { return env_; }
  const Ref<Channel>& channel() const { return channel_; }
  bool is_set_up() const { return set_up_; }
  // Starts the channel; from now on the end of the environment is prepared for.
  napi_status set_up(napi_value dispatch, bool offers_libuv);

  // The handle if it is open and no close was asked for; null otherwise.
  Handle* open_handle(napi_value id) const {
    int32_t number = 0;
    if (napi_get_value_int32(env_, id, &number) != napi_ok) return nullptr;
    Handle* handle = handles_.find(number);
    return handle == nullptr || handle->closing ? nullptr : handle;
  }
  int32_t add_handle(Ref<Handle> handle);
  // Before each of the handle's bursts and flushes.
  void watch_commits(Handle* handle);
  // The handle is closed: requests it still owes are answered, its readers go.
  void remove_handle(Handle* handle);

  ReaderHandle* open_reader(napi_value id) const;
  int32_t add_reader(Ref<ReaderHandle> reader);
  void remove_reader(ReaderHandle* reader);

  // Answers a request: at once, if nothing can be done for it.
  void post(std::unique_ptr<Answer> answer);
  void refuse(uint64_t request, Status status);
  void refuse(uint64_t request, Code code) { refuse(request, Status::of(code, {})); }

  // A buffer that is kept, for bytes that must be private before they are checksummed.
  uint8_t* scratch(size_t size);
  void trim_scratch();

 private:
  static void deliver_all(napi_env env, napi_value dispatch);
  static void end(void* self);
  bool deliver(napi_value dispatch, Message* message);
  bool deliver_answer(napi_value dispatch, Answer* answer);
  bool tell_progress(napi_value dispatch, Handle* handle);
  bool tell_poisoned(napi_value dispatch, Handle* handle);
  bool call(napi_value dispatch, double kind, double id, napi_value a, napi_value b, napi_value c);

  const napi_env env_;
  const Ref<Channel> channel_;
  bool set_up_ = false;
  Table<Handle> handles_;
  Table<ReaderHandle> readers_;
  std::vector<Message> delivering_;
  std::vector<uint8_t> scratch_;
};

}  // namespace stonelog::binding
