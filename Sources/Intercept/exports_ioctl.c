// ioctl(): most of its calls are for terminals and devices, so what is surely no socket passes on at once.
#include <stdarg.h>
#include <sys/ioctl.h>

#include "exports.h"

// The argument is a pointer, a number, or absent; libc reads it the same way.
NC_EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  struct nc_name name;
  if (!nc_active() || nc_hint(fd) == NC_HINT_FOREIGN || !nc_identify(fd, &name))
    return nc_native()->ioctl(fd, request, argument);
  return (int)finish(nc_ioctl(fd, &name, request, argument));
}
