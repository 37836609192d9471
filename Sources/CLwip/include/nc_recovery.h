// What loss recovery (LwipGlue's Recovery.swift) needs of lwIP's TCP: SACK blocks, its queues, and sending a part of a
// segment again. Included by nc_lwip.h.
#ifndef NC_RECOVERY_H
#define NC_RECOVERY_H

/// A block of a SACK option in host byte order: the bytes from `left` up to, not including, `right`.
struct nc_sack_block {
  u32_t left;
  u32_t right;
};

#define NC_SACK_BLOCKS 4 /* as many as 40 bytes of options can hold */

/// The SACK blocks (RFC 2018) of a segment that tcp_input() is processing, as they stand there; returns how many.
/// `option_bytes` is what of the options lies behind the header in one piece.
static inline int nc_tcp_sack_blocks(const struct tcp_hdr *header, u16_t option_bytes, struct nc_sack_block *blocks) {
  const u8_t *option = (const u8_t *)header + TCP_HLEN, *end = option + option_bytes;
  while (option < end && *option != 0) {
    if (*option == 1) {
      option++;
      continue;
    }
    if (end - option < 2 || option[1] < 2 || option[1] > end - option) return 0;
    if (*option == 5) {
      int count = (option[1] - 2) / 8;
      if (count > NC_SACK_BLOCKS) count = NC_SACK_BLOCKS;
      for (int i = 0; i < count; i++) {
        u32_t pair[2];
        memcpy(pair, option + 2 + 8 * i, sizeof pair);
        blocks[i].left = lwip_ntohl(pair[0]);
        blocks[i].right = lwip_ntohl(pair[1]);
      }
      return count;
    }
    option += option[1];
  }
  return 0;
}

/// The acknowledgement number of a segment that tcp_input() is processing: in host byte order by then.
static inline u32_t nc_tcp_header_acknowledgement(const struct tcp_hdr *header) { return header->ackno; }
/// Its window in bytes.
static inline u32_t nc_tcp_header_window(const struct tcp_pcb *pcb, const struct tcp_hdr *header) {
  return (u32_t)header->wnd << pcb->snd_scale;
}

/// The key that `nc_tcp_attach` gave to the PCB, or NULL.
static inline void *nc_tcp_attached(const struct tcp_pcb *pcb) {
#ifdef NC_LWIP_SOURCE
  return pcb->ext_args[1].callbacks != NULL ? pcb->ext_args[1].data : NULL;
#else
  (void)pcb;
  return NULL;
#endif
}
/// When the PCB, which is not attached yet, answered a SYN; microseconds, 0 where it did so more than once: then the answer's
/// round trip is not known (Karn).
static inline u64_t nc_tcp_answered(const struct tcp_pcb *pcb) {
#ifdef NC_LWIP_SOURCE
  return pcb->ext_args[1].callbacks == NULL && pcb->nrtx == 0 ? (u64_t)(uintptr_t)pcb->ext_args[1].data : 0;
#else
  (void)pcb;
  return 0;
#endif
}
/// Gives a PCB a key that `destroyed` is told when lwIP frees the PCB, and makes lwIP tell of the segments it sends.
static inline void nc_tcp_attach(struct tcp_pcb *pcb, void *key) {
#ifdef NC_LWIP_SOURCE
  nc_hook_tcp_attach(pcb, key);
#else
  (void)pcb, (void)key;
#endif
}
/// Whom to tell of segments that are sent for the first time, and of attached PCBs that lwIP frees.
static inline void nc_tcp_use_recovery(void (*sending)(struct tcp_pcb *, u32_t, u32_t), void (*destroyed)(void *)) {
#ifdef NC_LWIP_SOURCE
  nc_hooks.tcp_sending = sending;
  nc_hooks.tcp_destroyed = destroyed;
#else
  (void)sending, (void)destroyed;
#endif
}

/// Ends lwIP's own loss recovery of a PCB for the segment it is about to process: no duplicate acknowledgements are
/// counted, no round trips measured, the window does not grow, and the retransmission timer is `ticks` long.
static inline void nc_tcp_suspend_recovery(struct tcp_pcb *pcb, u16_t ticks) {
  pcb->dupacks = 0;
  pcb->rttest = 0;
  pcb->ssthresh = 0;
  pcb->bytes_acked = 0;
  pcb->sa = 0;
  pcb->sv = (s16_t)ticks;
  pcb->rto = (s16_t)ticks;
}
/// Starts lwIP's retransmission timer anew, where it runs.
static inline void nc_tcp_restart_timer(struct tcp_pcb *pcb) {
  if (pcb->rtime > 0) pcb->rtime = 0;
}

/// The length of the first segment that waits to be sent; 0 for none.
static inline u16_t nc_tcp_first_unsent_length(const struct tcp_pcb *pcb) {
  return pcb->unsent != NULL ? pcb->unsent->len : 0;
}
/// The sequence number of the first segment that waits to be sent, which there must be.
static inline u32_t nc_tcp_first_unsent(const struct tcp_pcb *pcb) { return lwip_ntohl(pcb->unsent->tcphdr->seqno); }

/// Cuts the first segment that waits to be sent after `bytes`, which must be less than its length.
static inline bool nc_tcp_cut_unsent(struct tcp_pcb *pcb, u16_t bytes) {
  const u16_t saved = pcb->mss; /* lwIP asserts that no piece exceeds it, which since may have shrunk */
  if (pcb->mss < bytes) pcb->mss = bytes;
  const err_t err = tcp_split_unsent_seg(pcb, bytes);
  pcb->mss = saved;
  return err == ERR_OK;
}

/// Sends once more up to `limit` sequence numbers from `sequence` on, as far as one queued segment holds them. The bytes are
/// copied: what lwIP has queued may be acknowledged and freed while the link still reads this frame.
/// Returns how many sequence numbers were sent (a FIN is one); 0 where the link refused, memory is short, or `sequence` is
/// not of what is in flight.
static inline u32_t nc_tcp_resend(struct tcp_pcb *pcb, u32_t sequence, u32_t limit) {
  const struct tcp_seg *seg = pcb->unacked;
  while (seg != NULL && TCP_SEQ_GEQ(sequence, lwip_ntohl(seg->tcphdr->seqno) + TCP_TCPLEN(seg))) seg = seg->next;
  struct netif *netif = netif_get_by_index(pcb->netif_idx);
  if (seg == NULL || netif == NULL || TCP_SEQ_LT(sequence, lwip_ntohl(seg->tcphdr->seqno))) return 0;
  const u32_t offset = sequence - lwip_ntohl(seg->tcphdr->seqno);
  const u16_t bytes = (u16_t)(offset < seg->len ? LWIP_MIN(seg->len - offset, limit) : 0);
  const bool is_last = offset + bytes == seg->len;
  const u8_t flags = TCPH_FLAGS(seg->tcphdr);
  const bool ends = is_last && (flags & TCP_FIN) != 0 && limit > bytes;
  struct pbuf *p = pbuf_alloc(PBUF_IP, (u16_t)(TCP_HLEN + bytes), PBUF_RAM);
  if (p == NULL) return 0;
  struct tcp_hdr *header = (struct tcp_hdr *)p->payload;
  memcpy(header, seg->tcphdr, TCP_HLEN); /* ports */
  header->seqno = lwip_htonl(sequence);
  header->ackno = lwip_htonl(pcb->rcv_nxt);
  TCPH_HDRLEN_FLAGS_SET(header, 5, TCP_ACK | (is_last ? flags & TCP_PSH : 0) | (ends ? TCP_FIN : 0));
  header->wnd = lwip_htons(TCPWND_MIN16(RCV_WND_SCALE(pcb, pcb->rcv_ann_wnd)));
  header->chksum = 0;
  header->urgp = 0;
  pcb->rcv_ann_right_edge = pcb->rcv_nxt + pcb->rcv_ann_wnd;
  pbuf_copy_partial(seg->p, (u8_t *)header + TCP_HLEN, bytes, (u16_t)(seg->p->tot_len - seg->len + offset));
#ifdef NC_LWIP_SOURCE
  nc_hook_tcp_out(p, header, pcb, (u32_t *)(header + 1)); /* an urgent pointer */
#endif
  IF__NETIF_CHECKSUM_ENABLED(netif, NETIF_CHECKSUM_GEN_TCP) {
    header->chksum = ip_chksum_pseudo(p, IP_PROTO_TCP, p->tot_len, &pcb->local_ip, &pcb->remote_ip);
  }
  NETIF_SET_HINTS(netif, &pcb->netif_hints);
  const err_t err = ip_output_if(p, &pcb->local_ip, &pcb->remote_ip, pcb->ttl, pcb->tos, IP_PROTO_TCP, netif);
  NETIF_RESET_HINTS(netif);
  pbuf_free(p);
  return err == ERR_OK ? bytes + (u32_t)ends : 0;
}

#endif
