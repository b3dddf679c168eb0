// Finds out what a directory's file system can do; see Probe in file.h.
#pragma once

#include "io/file.h"

namespace stonelog::io {

// `token` makes the probe file's name unique among processes.
Status probe_directory(const std::string& directory, DirectIo wish, bool may_write, uint64_t token,
                       Probe* probe);

}  // namespace stonelog::io
