// Keeps the addon loadable by older systems than the one it was built on. All that is defined here
// is hidden: references of the addon end in the addon.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Headers of libstdc++ 11 and later report an impossible array size by a symbol of GLIBCXX_3.4.29,
// above the floor of GLIBCXX_3.4.22. It would throw, and end in std::terminate: the core is
// compiled without exceptions.
#if defined(__GLIBCXX__)
extern "C" {
[[noreturn, gnu::used, gnu::visibility("hidden")]] void stonelog_bad_array_new_length() asm(
    "_ZSt28__throw_bad_array_new_lengthv");
void stonelog_bad_array_new_length() { abort(); }
}
#endif

// The musl binary holds a libc++ that was compiled with glibc's fortified headers. These are the
// checked variants it asks for, which musl does not have.
#if defined(STONELOG_FORTIFIED_LIBCXX)
extern "C" {
[[gnu::used, gnu::visibility("hidden")]] void* __memmove_chk(void* to, const void* from,
                                                             size_t size, size_t room) {
  if (size > room) abort();
  return memmove(to, from, size);
}
[[gnu::used, gnu::visibility("hidden")]] int __vfprintf_chk(FILE* file, int, const char* format,
                                                            va_list arguments) {
  return vfprintf(file, format, arguments);
}
[[gnu::used, gnu::visibility("hidden")]] int __fprintf_chk(FILE* file, int, const char* format,
                                                           ...) {
  va_list arguments;
  va_start(arguments, format);
  const int size = vfprintf(file, format, arguments);
  va_end(arguments);
  return size;
}
}
#endif
