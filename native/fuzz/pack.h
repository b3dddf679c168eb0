// Corpora from real logs.
#pragma once

#include <string>

namespace stonelog::fuzz {

// Writes what the files of a log's directory hold as inputs of each target, named after `name`,
// into the corpus. False, with a message on stderr, if something cannot be read or written.
bool pack_log(const std::string& directory, const std::string& corpus, const std::string& name);

}  // namespace stonelog::fuzz
