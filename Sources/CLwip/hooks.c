// lwIP's hooks and the one function of its system layer that a NO_SYS build needs (sys_now).
#include "nc_hooks.h"

#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"

struct nc_hooks nc_hooks;

static void on_freed(u8_t id, void *mark) {
  (void)id;
  if (mark != NULL && nc_hooks.tcp_freed != NULL) nc_hooks.tcp_freed((uintptr_t)mark);
}

void nc_tcp_set_mark(struct tcp_pcb *pcb, uintptr_t mark) {
  static const struct tcp_ext_arg_callbacks callbacks = {.destroy = on_freed, .passive_open = NULL};
  pcb->ext_args[0].callbacks = &callbacks;
  pcb->ext_args[0].data = (void *)mark;
}

u32_t sys_now(void) { return nc_hooks.now_milliseconds; }

u32_t nc_hook_tcp_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port) {
  return nc_hooks.tcp_isn ? nc_hooks.tcp_isn(local, local_port, remote, remote_port) : (u32_t)arc4random();
}

err_t nc_hook_tcp_inpacket(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t option_bytes, u16_t payload_bytes) {
  return nc_hooks.tcp_inpacket ? nc_hooks.tcp_inpacket(pcb, header, option_bytes, payload_bytes) : ERR_OK;
}

static void on_destroyed(u8_t id, void *key) {
  (void)id;
  if (key != NULL && nc_hooks.tcp_destroyed) nc_hooks.tcp_destroyed(key);
}

static const struct tcp_ext_arg_callbacks attachment = {.destroy = on_destroyed};

void nc_hook_tcp_attach(struct tcp_pcb *pcb, void *key) {
  tcp_ext_arg_set_callbacks(pcb, 1, &attachment);
  tcp_ext_arg_set(pcb, 1, key);
}

// A bare acknowledgement of one whose window is closed, and who has been probed with a byte, would lie outside that window,
// and be dropped with the news of our own window: two ends that both wait for room would wait for ever. So it says no more
// than the peer takes, as Linux's does (tcp_acceptable_seq; RFC 9293 section 3.10.7.4).
static void bound_sequence(const struct pbuf *p, struct tcp_hdr *header, const struct tcp_pcb *pcb) {
  if (p->tot_len != TCPH_HDRLEN_BYTES(header) || (TCPH_FLAGS(header) & (TCP_SYN | TCP_FIN | TCP_RST)) != 0) return;
  const u32_t edge = pcb->lastack + pcb->snd_wnd;
  if (TCP_SEQ_GT(lwip_ntohl(header->seqno), edge)) header->seqno = lwip_htonl(edge);
}

// The pointer tells how far the urgent data reaches beyond the segment's first byte (RFC 6093: behind the last byte of it, as
// all systems do). A segment that is sent again may carry an old one.
u32_t *nc_hook_tcp_out(const struct pbuf *p, struct tcp_hdr *header, const struct tcp_pcb *pcb, u32_t *options) {
  u32_t end;
  if (pcb == NULL || pcb->state == LISTEN) return options; /* a listener's RST: no whole PCB */
  /* Of the queue: not a bare acknowledgement, a probe, or what nc_tcp_resend() builds. */
  if (pcb->unsent != NULL && pcb->unsent->p == p) {
    /* tcp_split_unsent_seg() means to move a FIN to the rear part, but leaves it on the front part too. */
    if (pcb->unsent->next != NULL) TCPH_UNSET_FLAG(header, TCP_FIN);
    if (pcb->state == SYN_RCVD) {
      ((struct tcp_pcb *)pcb)->ext_args[1].data = (void *)(uintptr_t)nc_hooks.now_microseconds;
    } else if (pcb->ext_args[1].callbacks != NULL && pcb->ext_args[1].data != NULL) {
      nc_hooks.tcp_sending((struct tcp_pcb *)pcb, lwip_ntohl(header->seqno), TCP_TCPLEN(pcb->unsent));
    }
  }
  bound_sequence(p, header, pcb);
  if (nc_hooks.tcp_urgent_end == NULL) return options;
  const u32_t sequence = lwip_ntohl(header->seqno);
  if (nc_hooks.tcp_urgent_end(pcb, &end) && end - sequence - 1 < 0xffff) {
    TCPH_SET_FLAG(header, TCP_URG);
    header->urgp = lwip_htons((u16_t)(end - sequence));
  } else {
    TCPH_UNSET_FLAG(header, TCP_URG);
    header->urgp = 0;
  }
  return options;
}

struct netif *nc_hook_ip4_route(const ip4_addr_t *source, const ip4_addr_t *destination) {
  return nc_hooks.ip4_route ? nc_hooks.ip4_route(source, destination) : NULL;
}

struct netif *nc_hook_ip6_route(const ip6_addr_t *source, const ip6_addr_t *destination) {
  return nc_hooks.ip6_route ? nc_hooks.ip6_route(source, destination) : NULL;
}

const ip4_addr_t *nc_hook_ip4_gateway(struct netif *netif, const ip4_addr_t *destination) {
  return nc_hooks.ip4_gateway ? nc_hooks.ip4_gateway(netif, destination) : NULL;
}

const ip6_addr_t *nc_hook_ip6_gateway(struct netif *netif, const ip6_addr_t *destination) {
  return nc_hooks.ip6_gateway ? nc_hooks.ip6_gateway(netif, destination) : NULL;
}
