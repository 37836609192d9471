// What the network tells of itself: interfaces, addresses, name servers (NC_OP_FACTS).
#include <errno.h>
#include <string.h>

#include "facts.h"

int nc_fact(enum nc_fact fact, int index, void *data, size_t bytes) {
  struct nc_request request = {.op = NC_OP_FACTS, .argument = {(int)fact, index}};
  struct nc_reply reply;
  int error = nc_rpc(&request, -1, &reply, NULL, false);
  if (error == 0) memcpy(data, reply.data, bytes < sizeof reply.data ? bytes : sizeof reply.data);
  return error;
}

int nc_interface_named(const char *name, struct nc_interface_fact *interface) {
  for (int index = 0;; index++) {
    int error = nc_fact(NC_FACT_INTERFACE, index, interface, sizeof *interface);
    if (error != 0) return error == -ENOENT ? -ENODEV : error;
    if (strncmp(interface->name, name, sizeof interface->name) == 0) return 0;
  }
}

int nc_interface_numbered(uint32_t number, struct nc_interface_fact *interface) {
  for (int index = 0;; index++) {
    int error = nc_fact(NC_FACT_INTERFACE, index, interface, sizeof *interface);
    if (error != 0) return error == -ENOENT ? -ENODEV : error;
    if (interface->index == number) return 0;
  }
}
