// getifaddrs() and if_nameindex(): glibc asks the host's kernel by netlink, inside itself.
//
// glibc's order and fields: first a packet address for each interface, with its counters, then the addresses. The
// counters are zero: the daemon's are the network's, not a program's.
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>

#include "facts.h"

union any_address {
  struct sockaddr any;
  struct sockaddr_in in;
  struct sockaddr_in6 in6;
  struct sockaddr_ll packet;
};

struct entry {
  struct ifaddrs shown; /* first: the list's address is the block's */
  union any_address address, netmask, other;
  char name[IFNAMSIZ];
  uint32_t interface;
  bool has_other;
  struct rtnl_link_stats statistics;
};

struct list {
  struct entry *entries;
  size_t count, room;
};

static struct entry *append(struct list *list, const struct nc_interface_fact *interface) {
  if (list->count == list->room) {
    size_t room = list->room == 0 ? 16 : 2 * list->room;
    struct entry *larger = realloc(list->entries, room * sizeof *larger);
    if (larger == NULL) return NULL;
    list->entries = larger;
    list->room = room;
  }
  struct entry *entry = &list->entries[list->count++];
  memset(entry, 0, sizeof *entry);
  memcpy(entry->name, interface->name, sizeof entry->name);
  entry->interface = interface->index;
  entry->shown.ifa_flags = interface->flags;
  return entry;
}

static void fill_packet(union any_address *target, const struct nc_interface_fact *interface, const uint8_t hardware[6]) {
  target->packet.sll_family = AF_PACKET;
  target->packet.sll_ifindex = (int)interface->index;
  target->packet.sll_hatype = (interface->flags & IFF_LOOPBACK) != 0 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
  target->packet.sll_halen = 6;
  memcpy(target->packet.sll_addr, hardware, 6);
}

static int append_interface(struct list *list, const struct nc_interface_fact *interface) {
  static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, none[6];
  struct entry *entry = append(list, interface);
  if (entry == NULL) return -ENOMEM;
  fill_packet(&entry->address, interface, interface->hardware);
  fill_packet(&entry->other, interface, (interface->flags & IFF_BROADCAST) != 0 ? all : none);
  entry->has_other = true;
  return 0;
}

static void fill_address(union any_address *target, const struct nc_address *address) {
  socklen_t room = sizeof *target;
  nc_address_write(address->family, address, &target->any, &room);
}

static int append_address(struct list *list, const struct nc_interface_fact *interface,
                          const struct nc_address_fact *fact) {
  struct entry *entry = append(list, interface);
  if (entry == NULL) return -ENOMEM;
  struct nc_address mask = {.family = fact->address.family};
  for (uint32_t bit = 0; bit < fact->prefix_bits && bit < 128; bit++) mask.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
  fill_address(&entry->address, &fact->address);
  fill_address(&entry->netmask, &mask);
  entry->has_other = fact->address.family == AF_INET;
  if (entry->has_other) fill_address(&entry->other, fact->broadcast.family != 0 ? &fact->broadcast : &fact->address);
  return 0;
}

static int gather(struct list *list) {
  struct nc_interface_fact interfaces[8];
  int count = 0, error;
  for (; count < 8; count++) {
    error = nc_fact(NC_FACT_INTERFACE, count, &interfaces[count], sizeof interfaces[count]);
    if (error != 0) break;
    error = append_interface(list, &interfaces[count]);
    if (error != 0) return error;
  }
  if (count == 0) return error;
  for (int index = 0;; index++) {
    struct nc_address_fact fact;
    error = nc_fact(NC_FACT_ADDRESS, index, &fact, sizeof fact);
    if (error != 0) return error == -ENOENT ? 0 : error;
    for (int at = 0; at < count && error == 0; at++)
      if (interfaces[at].index == fact.interface) error = append_address(list, &interfaces[at], &fact);
    if (error != 0) return error;
  }
}

int nc_getifaddrs(struct ifaddrs **result) {
  struct list list = {0};
  int error = gather(&list);
  if (error != 0) {
    free(list.entries);
    return error;
  }
  for (size_t at = 0; at < list.count; at++) {
    struct entry *entry = &list.entries[at];
    entry->shown.ifa_next = at + 1 < list.count ? &list.entries[at + 1].shown : NULL;
    entry->shown.ifa_name = entry->name;
    entry->shown.ifa_addr = &entry->address.any;
    if (entry->address.any.sa_family == AF_PACKET) entry->shown.ifa_data = &entry->statistics;
    else entry->shown.ifa_netmask = &entry->netmask.any;
    if (entry->has_other) entry->shown.ifa_broadaddr = &entry->other.any;
  }
  *result = &list.entries[0].shown;
  return 0;
}

int nc_if_nameindex(struct if_nameindex **result) {
  struct if_nameindex *names = NULL;
  for (int index = 0;; index++) {
    struct if_nameindex *larger = realloc(names, (size_t)(index + 1) * sizeof *names);
    int error = larger == NULL ? -ENOMEM : 0;
    struct nc_interface_fact interface;
    if (larger != NULL) {
      names = larger;
      names[index] = (struct if_nameindex){0};
      error = nc_fact(NC_FACT_INTERFACE, index, &interface, sizeof interface);
    }
    if (error == -ENOENT && index > 0) break;
    if (error == 0) {
      names[index].if_index = interface.index;
      names[index].if_name = strndup(interface.name, sizeof interface.name);
      if (names[index].if_name != NULL) continue;
      error = -ENOMEM;
    }
    for (int at = 0; names != NULL && at < index; at++) free(names[at].if_name);
    free(names);
    return error == -ENOMEM ? -ENOBUFS : error; // as if_nameindex(3) has it
  }
  *result = names;
  return 0;
}
