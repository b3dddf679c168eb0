// The metronome of the open loops: when something is due it says so, as a client of a server does
// by sending a request.
//
//   metronome PER_SECOND MS
//
// writes one line to stdout, the time of the first beat in ns of CLOCK_MONOTONIC; then at each due
// time one byte `.`, for MS ms; then a line end and, on a line of its own, the ns by which it was
// itself late at most. Bytes that are due together are one write. It ends early when nobody reads.
//
// Why another process: an event loop's own timers have a resolution of 1 ms, and one that looks at
// the clock instead of sleeping takes a processor from whoever completes the device's writes.
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;
// The reader gets going meanwhile: what starting a process costs it is no part of the load.
constexpr uint64_t kLeadNs = 10'000'000;
// A sleep costs some 10 us of a processor, so beyond 10,000 a second beats are bundled.
constexpr uint64_t kShortestSleepNs = 100'000;
constexpr uint64_t kMostBytes = 4096;

[[noreturn]] void fail(const char* action, int error) {
  fprintf(stderr, "metronome: %s: %s\n", action, strerror(error));
  exit(1);
}

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * kSecondNs + static_cast<uint64_t>(now.tv_nsec);
}

void sleep_until(uint64_t ns) {
  const timespec until{static_cast<time_t>(ns / kSecondNs), static_cast<long>(ns % kSecondNs)};
  int error = 0;
  do {
    error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
  } while (error == EINTR);
  if (error != 0) fail("sleeping", error);
}

// False if nobody reads any more.
bool say(const char* text, size_t size) {
  while (size > 0) {
    const ssize_t written = write(STDOUT_FILENO, text, size);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return false;
    if (written < 0) fail("writing", errno);
    text += written;
    size -= static_cast<size_t>(written);
  }
  return true;
}

void beat(uint64_t per_second, uint64_t duration_ns) {
  const uint64_t start = now_ns() + kLeadNs;
  const uint64_t beats = (duration_ns * per_second + kSecondNs - 1) / kSecondNs;
  const auto due = [&](uint64_t beat) { return start + beat * kSecondNs / per_second; };
  char line[32];
  char bytes[kMostBytes];
  memset(bytes, '.', sizeof bytes);
  if (!say(line, static_cast<size_t>(snprintf(line, sizeof line, "%" PRIu64 "\n", start)))) return;
  uint64_t latest = 0;
  uint64_t woke = 0;
  for (uint64_t done = 0; done < beats;) {
    // A reader that is behind makes the last write wait; that is not the metronome's lateness.
    const uint64_t wanted = std::max({due(done), woke + kShortestSleepNs, now_ns()});
    sleep_until(wanted);
    woke = now_ns();
    latest = std::max(latest, woke - wanted);
    uint64_t count = 1;
    while (done + count < beats && count < kMostBytes && due(done + count) <= woke) count++;
    if (!say(bytes, count)) return;
    done += count;
  }
  say(line, static_cast<size_t>(snprintf(line, sizeof line, "\n%" PRIu64 "\n", latest)));
}

// 0 if it is no whole number from 1 to `most`.
uint64_t number_of(const char* text, uint64_t most) {
  char* end = nullptr;
  const uint64_t value = strtoull(text, &end, 10);
  return *end == '\0' && value <= most ? value : 0;
}

}  // namespace

int main(int count, char** arguments) {
  const uint64_t per_second = count == 3 ? number_of(arguments[1], 10'000'000) : 0;
  const uint64_t ms = count == 3 ? number_of(arguments[2], 600'000) : 0;
  if (per_second == 0 || ms == 0) {
    fprintf(stderr, "usage: metronome PER_SECOND MS, whole numbers\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  // Without it a sleep is prolonged by up to 50 us, to save wake-ups.
  if (prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0) != 0) fail("setting the timer slack", errno);
  // A request arrives by an interrupt, which waits for nobody's slice of a processor. Where that is
  // not permitted beats are as late as the scheduler makes them, and the last line tells it.
  const sched_param lowest{1};
  (void)sched_setscheduler(0, SCHED_FIFO, &lowest);
  beat(per_second, ms * 1'000'000);
  return 0;
}
