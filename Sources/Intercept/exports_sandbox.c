// A program that shuts itself into a sandbox (seccomp): sshd before a login, for one.
//
// Its filter lets pass what the program needs, and may end the process at anything else. So from then on the data calls
// of an established stream are just those that the program made: no send() in place of write(), which holds SIGPIPE back
// until TCP would raise it, and no questions about an error.
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "exports.h"

int nc_sandbox;

static void entered(void) { __atomic_store_n(&nc_sandbox, 1, __ATOMIC_RELAXED); }

// Arguments that were not passed are read as garbage, as libc does.
NC_EXPORT int prctl(int option, ...) {
  va_list list;
  va_start(list, option);
  unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
  unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
  va_end(list);
  int result = nc_native()->prctl(option, a, b, c, d);
  if (option == PR_SET_SECCOMP && result == 0) entered();
  return result;
}

long nc_export_seccomp(unsigned operation, unsigned flags, void *argument) {
  long result = finish(nc_raw(SYS_seccomp, operation, flags, (long)argument, 0, 0, 0));
  // With SECCOMP_FILTER_FLAG_NEW_LISTENER it is an fd.
  bool is_filter = operation == SECCOMP_SET_MODE_FILTER || operation == SECCOMP_SET_MODE_STRICT;
  if (is_filter && result >= 0) entered();
  return result;
}
