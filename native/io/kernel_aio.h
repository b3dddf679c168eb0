// Asynchronous writes by the kernel's own interface for them (io_submit).
//
// Why not io_uring: the same kernel code writes and syncs, and takes as long
// (docs/performance-notes.md), but containers mostly forbid io_uring, and its completions are the
// submitting thread's: they interrupt that thread's other system calls. Here any thread may look.
#pragma once

#include <memory>
#include <string>

#include "io/file.h"

namespace stonelog::io {

// Null where the system has no such thing, or has none to spare. A process that has had one ends
// some 30 ms later: the kernel takes its time to give up what belongs to it.
std::unique_ptr<AsyncWrite> kernel_aio();

// Begins a DSYNC write of the file `fd` by `write`, which is one of kernel_aio().
AsyncWrite::Begun begin_by_kernel(AsyncWrite* write, int fd, uint64_t offset, const Part* parts,
                                  int count);

}  // namespace stonelog::io
