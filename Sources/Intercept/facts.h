// The network's facts, for those who show them to the app: interfaces.c, ifaddrs.c, the resolver.
#ifndef NETCOND_INTERCEPT_FACTS_H
#define NETCOND_INTERCEPT_FACTS_H

#include "intercept.h"

/// Asks for the fact of number `index`, from 0. Returns 0, -ENOENT beyond the last, or the errno of nc_rpc.
int nc_fact(enum nc_fact fact, int index, void *data, size_t bytes);

/// The interface of a name or of an index; -ENODEV where there is none.
int nc_interface_named(const char *name, struct nc_interface_fact *interface);
int nc_interface_numbered(uint32_t number, struct nc_interface_fact *interface);

struct ifaddrs;
struct if_nameindex;

/// As getifaddrs(3) and if_nameindex(3), in the memory layout of glibc, whose freeifaddrs() and if_freenameindex() give
/// it back: one block, and one block with a string for each name. Return 0 or a negative errno.
int nc_getifaddrs(struct ifaddrs **list);
int nc_if_nameindex(struct if_nameindex **list);

#endif
