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

/// Whether lwIP is about to acknowledge what it has just received, and does not wait for another segment.
static inline bool nc_tcp_acknowledges(const struct tcp_pcb *pcb) { return (pcb->flags & TF_ACK_NOW) != 0; }

/// Whether an acknowledgement waits for company.
static inline bool nc_tcp_owes_acknowledgement(const struct tcp_pcb *pcb) { return (pcb->flags & TF_ACK_DELAY) != 0; }

/// Lets an acknowledgement wait in `state`, where nothing is missing before what has come; false: it must not.
static inline bool nc_tcp_defer_acknowledgement(struct tcp_pcb *pcb, enum tcp_state state) {
#if TCP_QUEUE_OOSEQ
  if (pcb->ooseq != NULL) return false;
#endif
  if (pcb->state != state) return false;
  if ((pcb->flags & TF_ACK_NOW) != 0) {
    tcp_clear_flags(pcb, TF_ACK_NOW);
    tcp_set_flags(pcb, TF_ACK_DELAY);
  }
  return true;
}

/// Lets an acknowledgement wait that lwIP is about to send; false where it must not: something is missing before what has
/// come, or the connection ends.
static inline bool nc_tcp_hold_acknowledgement(struct tcp_pcb *pcb) {
  return nc_tcp_defer_acknowledgement(pcb, ESTABLISHED);
}

/// The same of the peer's end, while we have not ended, and of nothing else: where something was to be acknowledged before,
/// the segment with the end has made lwIP forget its delay (tcp_ack()).
static inline bool nc_tcp_hold_end_acknowledgement(struct tcp_pcb *pcb) {
  return nc_tcp_owes_acknowledgement(pcb) && nc_tcp_defer_acknowledgement(pcb, CLOSE_WAIT);
}

/// By how much the window must have opened before lwIP tells of it by itself; in bytes.
static inline u32_t nc_tcp_update_threshold(const struct tcp_pcb *pcb) { return TCP_WND_UPDATE_THRESHOLD; }

/// Sends the acknowledgement that waits for company, if one does.
static inline void nc_tcp_flush_acknowledgement(struct tcp_pcb *pcb) {
  if (!nc_tcp_owes_acknowledgement(pcb)) return;
  tcp_ack_now(pcb);
  tcp_output(pcb);
}

#endif
