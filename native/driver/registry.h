// The process-wide table of open logs, by device and inode of the directory: handles of all threads
// share one log, the last close seals it, a poisoned log leaves the table at once.
#pragma once

#include "driver/log.h"

namespace stonelog::driver {

// May wait for the disk, and for another thread that is opening or closing the same directory.
// Differing options of a log that is open already are Code::bad_option. Each success needs one
// close_shared().
Status open_shared(io::FileSystem& fs, const OpenOptions& options, Log** log,
                   log::RecoveryReport* report);

// Makes everything durable; the last close of a log also seals and unlocks it. May wait for the
// disk. Fails with what poisoned the log.
Status close_shared(Log* log);

// Takes a poisoned log out of the table, so that its directory can be opened again.
void forget_shared(Log* log);

}  // namespace stonelog::driver
