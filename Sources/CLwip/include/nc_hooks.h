// The hooks that lwIP's source calls as C functions. Each forwards to a pointer that LwipGlue sets before lwip_init(),
// or keeps lwIP's own behaviour while it is NULL.
#ifndef NC_HOOKS_H
#define NC_HOOKS_H

#include <stdbool.h>
#include <stdint.h>

#include "lwip/err.h"
#include "lwip/ip_addr.h"

struct tcp_pcb;
struct tcp_hdr;
struct pbuf;
struct netif;

struct nc_hooks {
  /// The initial sequence number of a new connection (RFC 6528). Ports in host byte order.
  u32_t (*tcp_isn)(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port);
  /// Called with each segment that found its PCB (a struct tcp_pcb_listen if state is LISTEN), the bytes of its options
  /// that lie behind the header in one piece, and those of its payload; other than ERR_OK drops it.
  err_t (*tcp_inpacket)(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t option_bytes, u16_t payload_bytes);
  /// Called before an attached PCB sends a segment of its queue, with its sequence number and how many it takes.
  void (*tcp_sending)(struct tcp_pcb *pcb, u32_t sequence, u32_t count);
  /// Called with what a PCB was attached to, before lwIP frees the PCB.
  void (*tcp_destroyed)(void *key);
  /// The sequence number behind the last urgent byte of a PCB; false where it has none under way. NULL until a connection
  /// first sends urgent data.
  bool (*tcp_urgent_end)(const struct tcp_pcb *pcb, u32_t *end);
  /// lwIP has freed a PCB with this mark (nc_tcp_set_mark), if that is not 0.
  void (*tcp_freed)(uintptr_t mark);
  /// The interface for a packet that belongs to no PCB bound to one (a RST, say); NULL: lwIP's own routing.
  struct netif *(*ip4_route)(const ip4_addr_t *source, const ip4_addr_t *destination);
  struct netif *(*ip6_route)(const ip6_addr_t *source, const ip6_addr_t *destination);
  /// The next hop towards a destination that is not on the netif's own subnet; NULL: the netif's gateway.
  const ip4_addr_t *(*ip4_gateway)(struct netif *netif, const ip4_addr_t *destination);
  const ip6_addr_t *(*ip6_gateway)(struct netif *netif, const ip6_addr_t *destination);
  /// Milliseconds of the tick that runs: read once per tick by the loop, so that a tick sees one time.
  u32_t now_milliseconds;
  /// The same time in microseconds.
  u64_t now_microseconds;
};

extern struct nc_hooks nc_hooks;

/// Keeps a word with a PCB for whoever lists PCBs outside of lwIP.
void nc_tcp_set_mark(struct tcp_pcb *pcb, uintptr_t mark);

u32_t nc_hook_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port);
err_t nc_hook_tcp_inpacket(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t option_bytes, u16_t payload_bytes);
/// lwIP calls it before each segment leaves, to add options: there are none; it sets the urgent pointer, and tells of
/// segments from the queue.
u32_t *nc_hook_tcp_out(const struct pbuf *p, struct tcp_hdr *header, const struct tcp_pcb *pcb, u32_t *options);
/// Attaches a PCB to `key`, or, with NULL, to nothing.
void nc_hook_tcp_attach(struct tcp_pcb *pcb, void *key);
struct netif *nc_hook_ip4_route(const ip4_addr_t *source, const ip4_addr_t *destination);
struct netif *nc_hook_ip6_route(const ip6_addr_t *source, const ip6_addr_t *destination);
const ip4_addr_t *nc_hook_ip4_gateway(struct netif *netif, const ip4_addr_t *destination);
const ip6_addr_t *nc_hook_ip6_gateway(struct netif *netif, const ip6_addr_t *destination);

#endif
