// Keeps the addon loadable by older systems (GLIBC_2.28, GLIBCXX_3.4.22). Headers of libstdc++ 11
// and later report an impossible array size by std::__throw_bad_array_new_length, a symbol of
// GLIBCXX_3.4.29. A hidden definition of our own keeps the reference inside the addon. Nothing is
// thrown in either case: the core is compiled without exceptions, and would end in std::terminate.
#include <cstdlib>

#if defined(__GLIBCXX__)
extern "C" {
[[noreturn, gnu::used, gnu::visibility("hidden")]] void stonelog_bad_array_new_length() asm(
    "_ZSt28__throw_bad_array_new_lengthv");
void stonelog_bad_array_new_length() { abort(); }
}
#endif
