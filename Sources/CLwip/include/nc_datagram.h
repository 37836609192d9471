// lwIP's datagram side for Swift: raw control blocks, the packet that is being processed, checksums, neighbours, loopback.
// Included by nc_lwip.h.
#ifndef NC_DATAGRAM_H
#define NC_DATAGRAM_H

#include <stdint.h>

#include "lwip/igmp.h"
#include "lwip/memp.h"
#include "lwip/raw.h"

/// A control block that is offered each packet of `protocol`, of both families or of IPv6 only, before lwIP's own protocols
/// are; NULL without memory.
static inline struct raw_pcb *nc_raw_new(u8_t protocol, bool v6_only, raw_recv_fn receive) {
  struct raw_pcb *pcb = raw_new_ip_type(v6_only ? IPADDR_TYPE_V6 : IPADDR_TYPE_ANY, protocol);
  if (pcb != NULL) raw_recv(pcb, receive, NULL);
  return pcb;
}

/* The packet that lwIP is processing. */
static inline const ip_addr_t *nc_current_source(void) { return ip_current_src_addr(); }
static inline const ip_addr_t *nc_current_destination(void) { return ip_current_dest_addr(); }
/// The bytes of the IP header and all extension headers.
static inline u16_t nc_current_header_bytes(void) { return ip_current_header_tot_len(); }

/// Whether the link left it to us to verify the checksum of what is being received.
static inline bool nc_netif_checks_udp(const struct netif *netif) {
#if LWIP_CHECKSUM_CTRL_PER_NETIF
  return (netif->chksum_flags & NETIF_CHECKSUM_CHECK_UDP) != 0;
#else
  (void)netif;
  return true;
#endif
}

/// Adds a piece of a message to an Internet checksum's sum (RFC 1071), as 16-bit words in memory order; `odd` tells whether
/// the pieces before had an odd number of bytes.
static inline uint64_t nc_sum_add(uint64_t sum, bool odd, const void *bytes, size_t count) {
  const u8_t *at = (const u8_t *)bytes;
  uint64_t piece = 0;
  for (; count >= 4; at += 4, count -= 4) {
    u32_t word;
    memcpy(&word, at, 4);
    piece += word;
  }
  if (count >= 2) {
    u16_t word;
    memcpy(&word, at, 2);
    piece += word;
    at += 2;
    count -= 2;
  }
  if (count != 0) {
    const u8_t last[2] = {*at, 0};
    u16_t word;
    memcpy(&word, last, 2);
    piece += word;
  }
  while (piece >> 16 != 0) piece = (piece & 0xffff) + (piece >> 16);
  if (odd) piece = (piece & 0xff) << 8 | piece >> 8; /* a byte further, a word's halves change places (section 2B) */
  return sum + piece;
}

/// The sum as the 16 bits that go into a header, in memory order, not inverted.
static inline u16_t nc_sum_fold(uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return (u16_t)sum;
}

/// Whether ARP knows the hardware address of a neighbour.
static inline bool nc_arp_knows(struct netif *netif, const ip4_addr_t *neighbour) {
  struct eth_addr *hardware;
  const ip4_addr_t *found;
  return etharp_find_addr(netif, neighbour, &hardware, &found) >= 0;
}

/// Whether neighbour discovery knows it (RFC 4861 section 7.3.2: any state but INCOMPLETE).
static inline bool nc_nd6_knows(const struct netif *netif, const ip6_addr_t *neighbour) {
  for (int i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
    const struct nd6_neighbor_cache_entry *entry = &neighbor_cache[i];
    if (entry->state > ND6_INCOMPLETE && entry->netif == netif && ip6_addr_cmp(&entry->next_hop_address, neighbour))
      return true;
  }
  return false;
}

/// Drops the oldest packets that wait for a neighbour beyond `limit`: lwIP bounds that queue for ARP only.
static inline void nc_nd6_bound_queues(const struct netif *netif, u32_t limit) {
#if LWIP_ND6_QUEUEING
  for (int i = 0; i < LWIP_ND6_NUM_NEIGHBORS; i++) {
    struct nd6_neighbor_cache_entry *entry = &neighbor_cache[i];
    if (entry->state != ND6_INCOMPLETE || entry->netif != netif) continue;
    u32_t count = 0;
    for (const struct nd6_q_entry *waiting = entry->q; waiting != NULL; waiting = waiting->next) count++;
    for (; count > limit; count--) {
      struct nd6_q_entry *oldest = entry->q;
      entry->q = oldest->next;
      pbuf_free(oldest->p);
      memp_free(MEMP_ND6_QUEUE, oldest);
    }
  }
#else
  (void)netif, (void)limit;
#endif
}

/// Takes the first packet that the netif sent to itself off its queue, or NULL: what netif_poll() does, one at a time.
static inline struct pbuf *nc_netif_take_loopback(struct netif *netif) {
  struct pbuf *first = netif->loop_first, *last = first;
  if (first == NULL) return NULL;
  while (last->len != last->tot_len) last = last->next;
  if (last == netif->loop_last) netif->loop_first = netif->loop_last = NULL;
  else netif->loop_first = last->next;
  last->next = NULL;
  first->if_idx = netif_get_index(netif);
  return first;
}

#endif
