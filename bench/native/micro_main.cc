#include <benchmark/benchmark.h>

void close_micro_log();  // micro_append.cc

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  close_micro_log();
  return 0;
}
