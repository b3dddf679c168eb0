// What the modes that get over damage make of a damaged log: a new life on it, and a look at that.
#pragma once

#include "every_byte/damage.h"

namespace stonelog::every_byte {

// Salvage and point-in-time, each on a copy of `damaged`. What went wrong, or empty.
std::string judge_repairs(const Subject& subject, const states::Image& damaged,
                          const Ruling& ruling, Counters* counters);

}  // namespace stonelog::every_byte
