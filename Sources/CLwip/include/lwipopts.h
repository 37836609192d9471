// Our configuration of lwIP 2.1.3, for the source build. Each value stands with its reason; options not named keep
// lwIP's default (lwip/opt.h). shared/design/datapath.md tells which of these were measured.
#ifndef NC_LWIPOPTS_H
#define NC_LWIPOPTS_H

#define NC_LWIP_SOURCE 1 /* tells nc_lwip.h that hooks, big windows and per-frame checksum control exist */

/* One thread calls in; no operating-system layer, no sockets API. */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_TIMERS 1

/* Memory: malloc for everything, so that no fixed pool caps connections; the daemon's budgets bound the total. */
#define MEM_ALIGNMENT 8
#define MEM_LIBC_MALLOC 1
#define MEMP_MEM_MALLOC 1
#define MEM_USE_POOLS 0
#define PBUF_POOL_BUFSIZE 1600 /* lwIP derives it from TCP_MSS, which here is no frame size */
#define LWIP_SUPPORT_CUSTOM_PBUF 1

/* Protocols. */
#define LWIP_IPV4 1
#define LWIP_IPV6 1
#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_ICMP 1
#define LWIP_RAW 1
#define LWIP_UDP 1
#define LWIP_TCP 1
#define LWIP_IGMP 1
#define LWIP_IPV6_MLD 1
#define LWIP_DNS 0
#define LWIP_DHCP 0 /* LwipGlue's own: DHCPClient.swift */
#define IP_FORWARD 0
#define IP_REASSEMBLY 0 /* LwipGlue gives it whole packets (Reassembly.swift) */
#define LWIP_IPV6_REASS 0
#define IP_FRAG 1
#define IP_DEFAULT_TTL 64 /* Linux's */

/* Neighbours: table sizes bound how many peers on one wire can be resolved at once. */
#define ARP_TABLE_SIZE 120
#define ARP_QUEUEING 1
#define ARP_QUEUE_LEN 64
#define LWIP_ND6_NUM_NEIGHBORS 120
#define LWIP_ND6_NUM_DESTINATIONS 120
#define LWIP_ND6_QUEUEING 1
#define LWIP_ND6_MAX_QUEUE_LEN 64
#define MEMP_NUM_ND6_QUEUE 512
#define LWIP_IPV6_NUM_ADDRESSES 26 /* link-local, ::1, sixteen of the network's file, and what link and routers assign */
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 1
#define LWIP_IPV6_AUTOCONFIG 0 /* LwipGlue's own, for each network that asks for it: Autoconfiguration.swift */
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_ND6_ALLOW_RA_UPDATES 1 /* a netif has an MTU for IPv6 beside the other */

/* Interfaces: own addresses and loopback are looped inside the stack, when the daemon polls. */
#define LWIP_NETIF_LOOPBACK 1
#define LWIP_HAVE_LOOPIF 0
#define LWIP_NETIF_LOOPBACK_MULTITHREADING 0
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1
#define LWIP_NETIF_HWADDRHINT 1 /* neighbour look-up by hint; and tells LwipGlue which PCB a frame comes from */
#define LWIP_NETIF_TX_SINGLE_PBUF 0 /* scattered frames are what makes zero copy possible */

/* TCP. TCP_MSS bounds super-segments, not the wire: the wire's MSS stands in the SYN, clamped to the link's MTU by
 * LwipGlue, and netif->mtu is 65535 so that lwIP does not fragment what the link will segment. */
#define TCP_MSS 65495
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (6 * 1024 * 1024) /* the most; LwipGlue announces less, and lets it grow (Stack+Windows.swift) */
#define TCP_SND_BUF (8 * 1024 * 1024)
#define TCP_SND_QUEUELEN 8192
#define TCP_SNDLOWAT 32768
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* they assume an MSS of one wire frame: 4 MSS below 64 KiB */
#define TCP_SNDQUEUELOWAT 4096
#define TCP_OVERSIZE 0
/* Of the connection at hand, `pcb`. Why so much: Stack+Acknowledgements.swift. */
#define TCP_WND_UPDATE_THRESHOLD LWIP_MAX(64 * 1024, LWIP_MIN(128 * 1024, pcb->rcv_wnd / 4))
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_BYTES TCP_WND /* what was reported as received should not be thrown away */
#define TCP_OOSEQ_MAX_PBUFS 4608 /* that of wire segments */
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define LWIP_TCP_KEEPALIVE 1
#define LWIP_TCP_PCB_NUM_EXT_ARGS 2 /* which list of LwipGlue's ControlBlockTable a block is on; its Recovery */
#define TCP_LISTEN_BACKLOG 1 /* bounds half-open connections per listener; the accept queue is the daemon's */
#define SO_REUSE 1
#define TCP_TMR_INTERVAL 25       /* ms; handshakes, keepalive and window probes tick in twice that */
#define TCP_MSL 15000UL           /* 2 MSL = 30 s; Linux keeps TIME_WAIT for 60 s, RFC 9293 allows less */
#define TCP_SYNMAXRTX 12 /* the most that lwIP takes; LwipGlue ends attempts by TCP_SYNCNT, after 6 if not told */
#define TCP_MAXRTX 12
#define CHECKSUM_CHECK_TCP 1
#define CHECKSUM_GEN_TCP 1

#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LWIP_STATS_DISPLAY 0
#define MEM_STATS 0
#define MEMP_STATS 0
#define SYS_STATS 0

#define LWIP_HOOK_FILENAME "nc_hooks.h"
#define LWIP_HOOK_TCP_ISN(local, local_port, remote, remote_port) nc_hook_tcp_isn(local, local_port, remote, remote_port)
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, options, options1, second, p) \
  nc_hook_tcp_inpacket(pcb, header, LWIP_MIN(options, options1), (p)->tot_len)
#define LWIP_HOOK_TCP_OUT_ADD_TCPOPTS(p, header, pcb, options) nc_hook_tcp_out(p, header, pcb, options)
#define LWIP_HOOK_IP4_ROUTE_SRC(source, destination) nc_hook_ip4_route(source, destination)
#define LWIP_HOOK_IP6_ROUTE(source, destination) nc_hook_ip6_route(source, destination)
#define LWIP_HOOK_ETHARP_GET_GW(netif, destination) nc_hook_ip4_gateway(netif, destination)
#define LWIP_HOOK_ND6_GET_GW(netif, destination) nc_hook_ip6_gateway(netif, destination)

#endif
