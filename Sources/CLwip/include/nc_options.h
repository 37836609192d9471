// What socket options and TCP_INFO read and set in lwIP's TCP control blocks, for both builds (see nc_lwip.h).
#ifndef NC_OPTIONS_H
#define NC_OPTIONS_H

#include "nc_lwip.h"

/// Whether both ends scale their windows (RFC 7323), and by how much.
static inline bool nc_tcp_scales(const struct tcp_pcb *pcb) {
#if LWIP_WND_SCALE
  return (pcb->flags & TF_WND_SCALE) != 0;
#else
  (void)pcb;
  return false;
#endif
}
static inline u8_t nc_tcp_peer_scale(const struct tcp_pcb *pcb) {
#if LWIP_WND_SCALE
  return pcb->snd_scale;
#else
  (void)pcb;
  return 0;
#endif
}
static inline u8_t nc_tcp_own_scale(const struct tcp_pcb *pcb) {
#if LWIP_WND_SCALE
  return pcb->rcv_scale;
#else
  (void)pcb;
  return 0;
#endif
}

/// Whether selective acknowledgements were agreed on (RFC 2018).
static inline bool nc_tcp_selects(const struct tcp_pcb *pcb) {
#if LWIP_TCP_SACK_OUT
  return (pcb->flags & TF_SACK) != 0;
#else
  (void)pcb;
  return false;
#endif
}

/// The TTL or hop limit of the packet that lwIP is processing.
static inline u8_t nc_current_hop_limit(void) {
  return ip_current_is_v6() ? IP6H_HOPLIM(ip6_current_header()) : IPH_TTL(ip4_current_header());
}

/// Sends the acknowledgement that waits for company, if one does.
static inline void nc_tcp_flush_acknowledgement(struct tcp_pcb *pcb) {
  if ((pcb->flags & TF_ACK_DELAY) == 0) return;
  tcp_ack_now(pcb);
  tcp_output(pcb);
}

#endif
