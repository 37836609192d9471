// dlopen(): plugins must not get past this library.
//
// RTLD_DEEPBIND (PHP loads its extensions with it) has a plugin find libc's symbols before ours: its sockets would be the
// host's, and nobody would notice. On a network the flag is taken off, as the sanitizers and other preloaded libraries
// ask their users to do. dlmopen() is left alone: a namespace of its own has a libc of its own, too.
#include <dlfcn.h>

#include "exports.h"

// The loader looks at the return address to learn who calls, and searches that object's RUNPATH: a jump keeps it.
#if defined(__clang__)
#define JUMP_TO __attribute__((musttail)) return
#else
#define JUMP_TO return
#endif

NC_EXPORT void *dlopen(const char *path, int mode) {
  if (nc_active()) mode &= ~RTLD_DEEPBIND;
  JUMP_TO nc_native()->dlopen(path, mode);
}
