// lwIP for Swift: its headers, and as inline functions what Swift's importer cannot see (function-like macros, unions,
// bit-fields). Serves both builds: from source with our lwipopts.h, and Debian's packaged library with its own.
#ifndef NC_LWIP_H
#define NC_LWIP_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "lwip/opt.h"

#include "lwip/err.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/icmp.h"
#include "lwip/inet_chksum.h"
#include "lwip/init.h"
#include "lwip/ip.h"
#include "lwip/ip4_frag.h"
#include "lwip/ip6_frag.h"
#include "lwip/mld6.h"
#include "lwip/nd6.h"
#include "lwip/netif.h"
#include "lwip/pbuf.h"
#include "lwip/priv/nd6_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/stats.h"
#include "lwip/tcp.h"
#include "lwip/timeouts.h"
#include "lwip/udp.h"
#include "netif/ethernet.h"

#include "nc_datagram.h"
#ifdef NC_LWIP_SOURCE
#include "nc_hooks.h"
#endif

/// Whether this is the source build: hooks, super-segments, windows beyond 64 KiB, per-netif checksum control.
static inline bool nc_lwip_is_source_build(void) {
#ifdef NC_LWIP_SOURCE
  return true;
#else
  return false;
#endif
}

static inline void nc_set_now(u32_t milliseconds, u64_t microseconds) {
#ifdef NC_LWIP_SOURCE
  nc_hooks.now_milliseconds = milliseconds;
  nc_hooks.now_microseconds = microseconds;
#else
  (void)milliseconds, (void)microseconds;
#endif
}

/// Installs the hooks; without effect on the packaged library, which has none.
static inline void nc_install_hooks(
    u32_t (*isn)(const ip_addr_t *, u16_t, const ip_addr_t *, u16_t), void (*freed)(uintptr_t),
    err_t (*inpacket)(struct tcp_pcb *, struct tcp_hdr *, u16_t, u16_t),
    struct netif *(*ip4_route)(const ip4_addr_t *, const ip4_addr_t *),
    struct netif *(*ip6_route)(const ip6_addr_t *, const ip6_addr_t *),
    const ip4_addr_t *(*ip4_gateway)(struct netif *, const ip4_addr_t *),
    const ip6_addr_t *(*ip6_gateway)(struct netif *, const ip6_addr_t *)) {
#ifdef NC_LWIP_SOURCE
  nc_hooks.tcp_isn = isn;
  nc_hooks.tcp_freed = freed;
  nc_hooks.tcp_inpacket = inpacket;
  nc_hooks.ip4_route = ip4_route;
  nc_hooks.ip6_route = ip6_route;
  nc_hooks.ip4_gateway = ip4_gateway;
  nc_hooks.ip6_gateway = ip6_gateway;
#else
  (void)isn, (void)freed, (void)inpacket, (void)ip4_route, (void)ip6_route, (void)ip4_gateway, (void)ip6_gateway;
#endif
}

/// Turns the verification of received TCP, UDP and ICMPv6 checksums on or off: off only for a frame whose link
/// vouches for it. (The packaged library always verifies.)
static inline void nc_netif_set_checksum_check(struct netif *netif, bool check) {
#if LWIP_CHECKSUM_CTRL_PER_NETIF
  const u16_t mask = NETIF_CHECKSUM_CHECK_TCP | NETIF_CHECKSUM_CHECK_UDP | NETIF_CHECKSUM_CHECK_ICMP6;
  netif->chksum_flags = check ? (u16_t)(netif->chksum_flags | mask) : (u16_t)(netif->chksum_flags & ~mask);
#else
  (void)netif, (void)check;
#endif
}

/// Turns the computing of TCP checksums on or off: off where the link finishes a partial sum.
static inline void nc_netif_set_checksum_generation(struct netif *netif, bool generate) {
#if LWIP_CHECKSUM_CTRL_PER_NETIF
  const u16_t mask = NETIF_CHECKSUM_GEN_TCP;
  netif->chksum_flags = generate ? (u16_t)(netif->chksum_flags | mask) : (u16_t)(netif->chksum_flags & ~mask);
#else
  (void)netif, (void)generate;
#endif
}

/// Whether TCP data must be copied into the stack: the packaged library's LWIP_NETIF_TX_SINGLE_PBUF always copies.
static inline bool nc_lwip_copies_on_write(void) { return LWIP_NETIF_TX_SINGLE_PBUF != 0; }

/// The PCB on whose behalf the netif sends right now (lwIP hands its hint down), or NULL. Any kind of PCB: the caller
/// knows from the packet that it is TCP's.
static inline struct tcp_pcb *nc_netif_sending_pcb(struct netif *netif) {
#if LWIP_NETIF_USE_HINTS
  if (netif->hints == NULL) return NULL;
  return (struct tcp_pcb *)((u8_t *)netif->hints - offsetof(struct tcp_pcb, netif_hints));
#else
  (void)netif;
  return NULL;
#endif
}

/// Fragments an IPv4 packet for a link whose MTU is smaller than netif->mtu says (RFC 791 section 3.2).
static inline err_t nc_ip4_fragment(struct pbuf *p, struct netif *netif, const ip4_addr_t *destination, u16_t mtu) {
  const u16_t saved = netif->mtu;
  netif->mtu = mtu;
  const err_t err = ip4_frag(p, netif, destination);
  netif->mtu = saved;
  return err;
}

static inline u8_t nc_netif_index(struct netif *netif) { return netif_get_index(netif); }
static inline struct netif *nc_current_input_netif(void) { return ip_current_input_netif(); }
static inline int nc_netif_ip6_capacity(void) { return LWIP_IPV6_NUM_ADDRESSES; }
static inline u8_t nc_netif_ip6_state(struct netif *netif, s8_t i) { return netif_ip6_addr_state(netif, i); }
static inline const ip6_addr_t *nc_netif_ip6(struct netif *netif, s8_t i) { return netif_ip6_addr(netif, i); }
static inline bool nc_ip6_state_is_tentative(u8_t state) { return ip6_addr_istentative(state); }
static inline bool nc_ip6_state_is_duplicated(u8_t state) { return ip6_addr_isduplicated(state); }
static inline void nc_netif_ip6_set_static(struct netif *netif, s8_t i) {
#if LWIP_IPV6_ADDRESS_LIFETIMES
  netif_ip6_addr_set_valid_life(netif, i, IP6_ADDR_LIFE_STATIC);
  netif_ip6_addr_set_pref_life(netif, i, IP6_ADDR_LIFE_STATIC);
#else
  (void)netif, (void)i;
#endif
}
static inline u32_t nc_netif_ip4(const struct netif *netif) { return netif_ip4_addr(netif)->addr; }
static inline u32_t nc_netif_ip4_mask(const struct netif *netif) { return netif_ip4_netmask(netif)->addr; }
static inline void nc_netif_put_ip4(struct netif *netif, u32_t address, u32_t mask) {
  ip4_addr_set_u32(ip_2_ip4(&netif->ip_addr), address);
  ip4_addr_set_u32(ip_2_ip4(&netif->netmask), mask);
}
static inline void nc_netif_set_mtu6(struct netif *netif, u16_t mtu) {
#if LWIP_ND6_ALLOW_RA_UPDATES
  netif->mtu6 = mtu;
#else
  (void)netif, (void)mtu;
#endif
}

/// Whether packets that the netif sent to itself wait for netif_poll().
static inline bool nc_netif_has_loopback(const struct netif *netif) { return netif->loop_first != NULL; }

/// The same of any netif.
static inline bool nc_any_loopback(void) {
  for (const struct netif *netif = netif_list; netif != NULL; netif = netif->next)
    if (nc_netif_has_loopback(netif)) return true;
  return false;
}

/// Makes the netif the first that lwIP's routing asks.
static inline void nc_netif_move_to_front(struct netif *netif) {
  for (struct netif **at = &netif_list; *at != NULL; at = &(*at)->next) {
    if (*at != netif) continue;
    *at = netif->next;
    netif->next = netif_list;
    netif_list = netif;
    return;
  }
}

/// Builds an address of either family from bytes in network order (4 or 16 of them). `zone` is a netif index or 0.
static inline ip_addr_t nc_ip_from_bytes(const u8_t *bytes, bool is_v6, u8_t zone) {
  ip_addr_t ip;
  memset(&ip, 0, sizeof ip);
  if (is_v6) {
    memcpy(ip_2_ip6(&ip)->addr, bytes, 16);
    IP_SET_TYPE_VAL(ip, IPADDR_TYPE_V6);
#if LWIP_IPV6_SCOPES
    if (zone != 0 && ip6_addr_has_scope(ip_2_ip6(&ip), IP6_UNKNOWN)) ip6_addr_set_zone(ip_2_ip6(&ip), zone);
#endif
  } else {
    memcpy(&ip_2_ip4(&ip)->addr, bytes, 4);
    IP_SET_TYPE_VAL(ip, IPADDR_TYPE_V4);
  }
  return ip;
}

static inline bool nc_ip_is_v6(const ip_addr_t *ip) { return IP_IS_V6_VAL(*ip); }
static inline void nc_ip_bytes(const ip_addr_t *ip, u8_t *out) {
  if (IP_IS_V6_VAL(*ip)) memcpy(out, ip_2_ip6(ip)->addr, 16);
  else memcpy(out, &ip_2_ip4(ip)->addr, 4);
}
static inline ip_addr_t nc_ip_any_type(void) {
  ip_addr_t any = IPADDR_ANY_TYPE_INIT;
  return any;
}

/* TCP control blocks: fields behind macros, and the connection state that super-segments steer. */
static inline void nc_tcp_set_nodelay(struct tcp_pcb *pcb, bool on) {
  if (on) tcp_nagle_disable(pcb); else tcp_nagle_enable(pcb);
}
static inline void nc_tcp_set_option(struct tcp_pcb *pcb, u8_t option, bool on) {
  if (on) ip_set_option(pcb, option); else ip_reset_option(pcb, option);
}
static inline u32_t nc_tcp_send_space(const struct tcp_pcb *pcb) { return pcb->snd_buf; }
static inline u8_t nc_tcp_header_flags(const struct tcp_hdr *header) { return TCPH_FLAGS(header); }
/// The urgent pointer of a segment that tcp_input() is processing: that one it leaves in network byte order.
static inline u16_t nc_tcp_header_urgent(const struct tcp_hdr *header) { return lwip_ntohs(header->urgp); }
/// From now on segments carry urgent pointers. (The packaged library cannot: urgent bytes are ordinary ones there.)
static inline void nc_tcp_use_urgent(bool (*end)(const struct tcp_pcb *, u32_t *)) {
#ifdef NC_LWIP_SOURCE
  nc_hooks.tcp_urgent_end = end;
#else
  (void)end;
#endif
}
/// The sequence number of a segment that tcp_input() is processing: in host byte order by then.
static inline u32_t nc_tcp_header_sequence(const struct tcp_hdr *header) { return header->seqno; }
/// The callback argument of the listener that a half-open connection came to, or NULL.
static inline void *nc_tcp_listener_argument(const struct tcp_pcb *pcb) {
#if LWIP_CALLBACK_API || TCP_LISTEN_BACKLOG
  return pcb->listener != NULL ? pcb->listener->callback_arg : NULL;
#else
  (void)pcb;
  return NULL;
#endif
}
static inline struct tcp_pcb *nc_tcp_active_pcbs(void) { return tcp_active_pcbs; }
/// Puts a PCB on lwIP's list of active ones.
static inline void nc_tcp_put_active(struct tcp_pcb *pcb) {
  pcb->next = tcp_active_pcbs;
  tcp_active_pcbs = pcb;
}
/// Takes the first PCB off that list, or NULL.
static inline struct tcp_pcb *nc_tcp_take_active(void) {
  struct tcp_pcb *pcb = tcp_active_pcbs;
  if (pcb != NULL) {
    tcp_active_pcbs = pcb->next;
    pcb->next = NULL;
  }
  return pcb;
}
/// Has lwIP's TCP timer run; it does so only where a PCB is on the list, and takes care not to run twice.
static inline void nc_tcp_start_timer(struct tcp_pcb *any) {
  struct tcp_pcb *const list = tcp_active_pcbs;
  tcp_active_pcbs = any;
  tcp_timer_needed();
  tcp_active_pcbs = list;
}
/// The word that nc_tcp_set_mark() has kept with a PCB; 0 at first.
static inline uintptr_t nc_tcp_mark(const struct tcp_pcb *pcb) {
#ifdef NC_LWIP_SOURCE
  return (uintptr_t)pcb->ext_args[0].data;
#else
  (void)pcb;
  return 0;
#endif
}
#ifndef NC_LWIP_SOURCE
static inline void nc_tcp_set_mark(struct tcp_pcb *pcb, uintptr_t mark) { (void)pcb, (void)mark; }
#endif
/// Whether lwIP's timers have anything to do with a PCB, keepalive probes aside.
static inline bool nc_tcp_has_work(const struct tcp_pcb *pcb) {
  if (pcb->state != ESTABLISHED && pcb->state != CLOSE_WAIT) return true;
  if (pcb->unacked != NULL || pcb->unsent != NULL || pcb->refused_data != NULL || pcb->persist_backoff != 0) return true;
#if TCP_QUEUE_OOSEQ
  if (pcb->ooseq != NULL) return true;
#endif
#if TCP_LISTEN_BACKLOG
  if ((pcb->flags & TF_BACKLOGPEND) != 0) return true;
#endif
  return (pcb->flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND | TF_NAGLEMEMERR)) != 0;
}
static inline bool nc_tcp_keeps_alive(const struct tcp_pcb *pcb) { return ip_get_option(pcb, SOF_KEEPALIVE) != 0; }
/// Whether a frame could not be had, or was refused, when the PCB last sent.
static inline bool nc_tcp_lacked_memory(const struct tcp_pcb *pcb) { return (pcb->flags & TF_NAGLEMEMERR) != 0; }
/// Runs of lwIP's slow timer.
static inline u32_t nc_tcp_ticks(void) { return tcp_ticks; }
/// Lets lwIP's clock of slow timer ticks be `ticks`, but never go back: the timer itself rests while nothing needs it.
static inline void nc_tcp_set_ticks(u32_t ticks) {
  if ((s32_t)(ticks - tcp_ticks) > 0) tcp_ticks = ticks;
}
/// Takes the first PCB off lwIP's TIME_WAIT list, or NULL.
static inline struct tcp_pcb *nc_tcp_take_time_wait(void) {
  struct tcp_pcb *pcb = tcp_tw_pcbs;
  if (pcb != NULL) {
    tcp_tw_pcbs = pcb->next;
    pcb->next = NULL;
  }
  return pcb;
}
/// Puts a PCB that was taken back on the list.
static inline void nc_tcp_put_time_wait(struct tcp_pcb *pcb) {
  pcb->next = tcp_tw_pcbs;
  tcp_tw_pcbs = pcb;
}
/// Frees a PCB that was taken off the list.
static inline void nc_tcp_free_time_wait(struct tcp_pcb *pcb) {
  nc_tcp_put_time_wait(pcb);
  tcp_abort(pcb); /* in TIME_WAIT lwIP sends nothing: it unlinks and frees */
}
static inline u32_t nc_tcp_msl_milliseconds(void) { return TCP_MSL; }
static inline u32_t nc_tcp_slow_interval_milliseconds(void) { return TCP_SLOW_INTERVAL; }
/// The smallest sequence number whose bytes lwIP may still read from the caller's memory.
static inline u32_t nc_tcp_oldest_referenced(const struct tcp_pcb *pcb) {
  if (pcb->unacked != NULL) return lwip_ntohl(pcb->unacked->tcphdr->seqno);
  if (pcb->unsent != NULL) return lwip_ntohl(pcb->unsent->tcphdr->seqno);
  return pcb->snd_lbb;
}
/// Bytes queued and not yet sent at all, up to `limit` (a whole queue need not be walked).
static inline u32_t nc_tcp_unsent_bytes(const struct tcp_pcb *pcb, u32_t limit) {
  u32_t bytes = 0;
  for (const struct tcp_seg *s = pcb->unsent; s != NULL && bytes < limit; s = s->next) bytes += s->len;
  return bytes;
}
/// The length of the largest unsent segment: pcb->mss must not be lowered below it. tcp_write appends to the last one, and
/// the persist timer splits the first by the peer's window, which lwIP asserts to be no more than pcb->mss.
static inline u16_t nc_tcp_largest_unsent_length(const struct tcp_pcb *pcb) {
  u16_t largest = 0;
  for (const struct tcp_seg *s = pcb->unsent; s != NULL; s = s->next)
    if (s->len > largest) largest = s->len;
  return largest;
}
/// lwIP gives an end that it sends 2 MSL to be acknowledged, counted from the last segment that came: behind a long silence
/// that is no time at all. Counts from now.
static inline void nc_tcp_restart_ending(struct tcp_pcb *pcb) { pcb->tmr = tcp_ticks; }
/// The same while bytes are under way: for those the retransmissions are counted.
static inline void nc_tcp_hold_ending(struct tcp_pcb *pcb) {
  if (pcb->state == LAST_ACK && (pcb->unsent != NULL || (pcb->unacked != NULL && pcb->unacked->len > 0)))
    pcb->tmr = tcp_ticks;
}
static inline u32_t nc_tcp_queue_limit(void) { return TCP_SND_QUEUELEN; }
/// The most lwIP can announce on this connection (64 KiB where the peer does not scale).
static inline u32_t nc_tcp_window_limit(const struct tcp_pcb *pcb) { return TCP_WND_MAX(pcb); }
/// Sets how much is received, and announced, from here on; lwIP takes care not to move an announced edge back, so the
/// edge goes along (before the peer has seen more than the SYN's 64 KiB).
static inline void nc_tcp_set_receive_window(struct tcp_pcb *pcb, u32_t bytes) {
  pcb->rcv_wnd = pcb->rcv_ann_wnd = (tcpwnd_size_t)bytes;
  pcb->rcv_ann_right_edge = pcb->rcv_nxt + bytes;
}
/// Opens the receive window by `bytes`; tcp_recved() takes 16 bits.
static inline void nc_tcp_credit(struct tcp_pcb *pcb, u32_t bytes) {
  for (; bytes > 0xffff; bytes -= 0xffff) tcp_recved(pcb, 0xffff);
  if (bytes > 0) tcp_recved(pcb, (u16_t)bytes);
}
/// Makes lwIP take the receive window for fully open, as tcp_close() wants it.
static inline void nc_tcp_forgive_unread(struct tcp_pcb *pcb) { pcb->rcv_wnd = TCP_WND_MAX(pcb); }

#include "nc_options.h"
#include "nc_recovery.h"

#endif
