// The interposed symbols that tell of interfaces and names: glibc answers them inside itself, from the host.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "exports.h"
#include "facts.h"

NC_EXPORT int getifaddrs(struct ifaddrs **list) {
  if (!nc_active()) return nc_native()->getifaddrs(list);
  return (int)finish(nc_getifaddrs(list));
}

NC_EXPORT struct if_nameindex *if_nameindex(void) {
  if (!nc_active()) return nc_native()->if_nameindex();
  struct if_nameindex *list = NULL;
  return finish(nc_if_nameindex(&list)) == 0 ? list : NULL;
}

NC_EXPORT unsigned if_nametoindex(const char *name) {
  if (!nc_active()) return nc_native()->if_nametoindex(name);
  struct nc_interface_fact interface;
  return finish(nc_interface_named(name, &interface)) == 0 ? interface.index : 0;
}

NC_EXPORT char *if_indextoname(unsigned index, char name[IF_NAMESIZE]) {
  if (!nc_active()) return nc_native()->if_indextoname(index, name);
  struct nc_interface_fact interface;
  int error = nc_interface_numbered(index, &interface);
  if (finish(error == -ENODEV ? -ENXIO : error) != 0) return NULL;
  memcpy(name, interface.name, IFNAMSIZ);
  return name;
}
