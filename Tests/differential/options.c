// Every option number of every level, on each kind of socket: what getsockopt answers, and what setsockopt takes.
#include "differential.h"

struct range {
  const char *level_name;
  int level, last;
};

// Up to what Linux 6.1 has: beyond it the answers would be those of the host's version.
static const struct range ranges[] = {{"SOL_SOCKET", SOL_SOCKET, 75}, {"TCP", IPPROTO_TCP, 37},  {"IP", IPPROTO_IP, 50},
                                      {"IPV6", IPPROTO_IPV6, 80},     {"UDP", IPPROTO_UDP, 104}, {"UDPLITE", 136, 12},
                                      {"ICMPV6", IPPROTO_ICMPV6, 3},  {"RAW", SOL_RAW, 3},      {"level 77", 77, 2}};
enum { RANGES = sizeof ranges / sizeof ranges[0] };

// Options whose value tells of a time, a place in memory, an identity or a whole structure: their length is compared.
// TCP_INFO grows with Linux's versions.
static bool is_value_of_its_own(int level, int option) {
  if (level == SOL_SOCKET)
    return option == SO_COOKIE || option == SO_INCOMING_NAPI_ID || option == SO_INCOMING_CPU || option == SO_MEMINFO ||
           option == SO_PEERCRED || option == SO_NETNS_COOKIE;
  return level == IPPROTO_TCP && (option == TCP_CC_INFO || option == TCP_TIMESTAMP || option == TCP_WINDOW_CLAMP);
}

static void say_bytes(const char *label, int value, const unsigned char *bytes, socklen_t length) {
  char text[200];
  int count = snprintf(text, sizeof text, "%d, %d bytes:", value, (int)length);
  for (socklen_t i = 0; i < length && i < 32 && count < 190; i++) count += snprintf(text + count, sizeof text - count, " %02x", bytes[i]);
  say(label, "%s", text);
}

static void say_option_bytes(const char *label, int fd, int level, int option, socklen_t capacity) {
  unsigned char bytes[512];
  memset(bytes, 0xee, sizeof bytes);
  socklen_t length = capacity;
  int value = getsockopt(fd, level, option, bytes, &length);
  if (value < 0)
    say(label, "%s", errno_name(errno));
  else if (level == IPPROTO_TCP && option == TCP_INFO)
    say(label, "%s", capacity < 192 && length == capacity ? "all that has room" : length >= 192 ? "a structure" : "less");
  else if (is_value_of_its_own(level, option))
    say(label, "%d bytes", (int)length);
  else
    say_bytes(label, value, bytes, length);
}

static void sweep_get(int fd, socklen_t capacity) {
  for (int range = 0; range < RANGES; range++)
    for (int option = 0; option <= ranges[range].last; option++) {
      char label[60];
      snprintf(label, sizeof label, "get %s %d", ranges[range].level_name, option);
      say_option_bytes(label, fd, ranges[range].level, option, capacity);
    }
}

// A fresh socket for each option, so that one's effect is no other's.
static int (*make)(void);

static void sweep_set(const int *values, int count) {
  for (int range = 0; range < RANGES; range++)
    for (int option = 0; option <= ranges[range].last; option++)
      for (int i = 0; i < count; i++) {
        int fd = make();
        char label[60];
        snprintf(label, sizeof label, "set %s %d to %d", ranges[range].level_name, option, values[i]);
        int value = set_option(fd, ranges[range].level, option, values[i]);
        result(label, value);
        if (value == 0) {
          strcat(label, ", then");
          say_option_bytes(label, fd, ranges[range].level, option, 64);
        }
        close(fd);
      }
}

static void sweep_value(const char *label, int level, int option, int value) {
  int fd = make();
  result(label, set_option(fd, level, option, value));
  close(fd);
}

static int make_tcp(void) { return tcp(0); }
static int make_udp(void) { return udp(0); }
static int make_icmp(void) {
  int fd = socket(family, SOCK_DGRAM, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
  NEED(fd >= 0);
  return fd;
}

static void get_with(int (*maker)(void)) {
  make = maker;
  int fd = maker();
  sweep_get(fd, 256);
}

static void set_with(int (*maker)(void)) {
  make = maker;
  sweep_set((const int[]){0, 1, -1, 7, 300}, 5);
}

static void get_tcp_app(void) { get_with(make_tcp); }
static void get_udp_app(void) { get_with(make_udp); }
static void get_icmp_app(void) { get_with(make_icmp); }
static void set_tcp_app(void) { set_with(make_tcp); }
static void set_udp_app(void) { set_with(make_udp); }
static void set_icmp_app(void) { set_with(make_icmp); }
// Without privilege: what is refused for lack of it is refused.
SCENARIO_BOTH(options_get_tcp, .app = get_tcp_app, .user = NOBODY);
SCENARIO_BOTH(options_get_udp, .app = get_udp_app, .user = NOBODY);
SCENARIO_BOTH(options_get_icmp, .app = get_icmp_app, .user = NOBODY);
SCENARIO_BOTH(options_set_tcp, .app = set_tcp_app, .user = NOBODY);
SCENARIO_BOTH(options_set_udp, .app = set_udp_app, .user = NOBODY);
SCENARIO_BOTH(options_set_icmp, .app = set_icmp_app, .user = NOBODY);

// What privilege allows.
static void privileged_app(void) {
  make = make_tcp;
  sweep_value("SO_DEBUG", SOL_SOCKET, SO_DEBUG, 1);
  sweep_value("SO_PRIORITY 7", SOL_SOCKET, SO_PRIORITY, 7);
  sweep_value("SO_MARK", SOL_SOCKET, SO_MARK, 5);
  sweep_value("SO_RCVBUFFORCE", SOL_SOCKET, SO_RCVBUFFORCE, 10000000);
  sweep_value("SO_SNDBUFFORCE", SOL_SOCKET, SO_SNDBUFFORCE, 10000000);
  sweep_value("IP_TRANSPARENT", IPPROTO_IP, IP_TRANSPARENT, 1);
  sweep_value("TCP_REPAIR", IPPROTO_TCP, TCP_REPAIR, 1);
}
SCENARIO_BOTH(options_privileged, .app = privileged_app);

// A connection's and a listener's.
static void get_connected_app(void) {
  int fd = connected_app();
  // Linux sizes the buffers of a connection by the path; the sizes are its own.
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 20000);
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 20000);
  sweep_get(fd, 256);
  tell("done");
}

static void get_connected_peer(void) {
  connected_peer();
  hear("done");
}
SCENARIO_BOTH(options_get_connected, .app = get_connected_app, .peer = get_connected_peer, .user = NOBODY);

static void get_listener_app(void) { sweep_get(listener(APP, 5), 256); }
SCENARIO_BOTH(options_get_listener, .app = get_listener_app, .user = NOBODY);

// ---- Lengths

static void lengths(int fd) {
  static const struct {
    int level, option;
    const char *name;
  } options[] = {{SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE"}, {SOL_SOCKET, SO_RCVBUF, "SO_RCVBUF"},
                 {SOL_SOCKET, SO_LINGER, "SO_LINGER"},       {SOL_SOCKET, SO_RCVTIMEO, "SO_RCVTIMEO"},
                 {SOL_SOCKET, SO_ERROR, "SO_ERROR"},         {SOL_SOCKET, SO_TYPE, "SO_TYPE"},
                 {SOL_SOCKET, SO_BINDTODEVICE, "SO_BINDTODEVICE"},
                 {IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY"},  {IPPROTO_TCP, TCP_INFO, "TCP_INFO"},
                 {IPPROTO_TCP, TCP_CONGESTION, "TCP_CONGESTION"},
                 {IPPROTO_IP, IP_TOS, "IP_TOS"},             {IPPROTO_IP, IP_TTL, "IP_TTL"},
                 {IPPROTO_IP, IP_MULTICAST_TTL, "IP_MULTICAST_TTL"}, {IPPROTO_IP, IP_MULTICAST_LOOP, "IP_MULTICAST_LOOP"},
                 {IPPROTO_IPV6, IPV6_V6ONLY, "IPV6_V6ONLY"}, {IPPROTO_IPV6, IPV6_UNICAST_HOPS, "IPV6_UNICAST_HOPS"}};
  static const int sizes[] = {0, 1, 2, 3, 4, 5, 8, 16, 17};
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
      char label[60];
      unsigned char bytes[64] = {1};
      snprintf(label, sizeof label, "get %s of %d bytes", options[i].name, sizes[k]);
      say_option_bytes(label, fd, options[i].level, options[i].option, sizes[k]);
      if (options[i].option == SO_BINDTODEVICE) continue;
      snprintf(label, sizeof label, "set %s by %d bytes", options[i].name, sizes[k]);
      result(label, setsockopt(fd, options[i].level, options[i].option, bytes, sizes[k]));
    }
}

static void lengths_tcp_app(void) { lengths(tcp(0)); }
static void lengths_udp_app(void) { lengths(udp(0)); }
SCENARIO_BOTH(options_lengths_tcp, .app = lengths_tcp_app);
SCENARIO_BOTH(options_lengths_udp, .app = lengths_udp_app);

static void pointers_app(void) {
  int fd = tcp(0), value = 1;
  socklen_t length = sizeof value;
  result("get into a bad pointer", getsockopt(fd, SOL_SOCKET, SO_TYPE, (void *)8, &length));
  result("get with a bad length pointer", getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, (void *)8));
  result("set from a bad pointer", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, (void *)8, sizeof value));
}
SCENARIO_BOTH(options_bad_pointers, .app = pointers_app);

static void arguments_app(void) {
  int fd = tcp(0), value = 1;
  socklen_t length = (socklen_t)-1;
  result("get with a negative length", getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
  result("set with a negative length", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)-1));
  result("set IP_TOS with a negative length", setsockopt(fd, IPPROTO_IP, IP_TOS, &value, (socklen_t)-1));
  length = sizeof value;
  result("get of no descriptor", getsockopt(90, SOL_SOCKET, SO_TYPE, &value, &length));
  result("get of no socket", getsockopt(1, SOL_SOCKET, SO_TYPE, &value, &length));
  result("set of no socket", setsockopt(1, SOL_SOCKET, SO_KEEPALIVE, &value, length));
  result("a level that is none", setsockopt(fd, 12345, 1, &value, length));
  result("a negative option", setsockopt(fd, SOL_SOCKET, -1, &value, length));
}
SCENARIO_BOTH(options_arguments, .app = arguments_app);

// ---- Values: ranges and what reads back

static void values(const char *name, int level, int option, const int *list, int count) {
  for (int i = 0; i < count; i++) {
    int fd = make();
    char label[80];
    snprintf(label, sizeof label, "%s %d", name, list[i]);
    result(label, set_option(fd, level, option, list[i]));
    strcat(label, ", then");
    say_option(label, fd, level, option);
    close(fd);
  }
}
#define VALUES(level, option, ...)                                                                                     \
  values(#option, level, option, (const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static void ranges_app(void) {
  make = make_tcp;
  VALUES(SOL_SOCKET, SO_RCVBUF, 0, 1, 1000, 1152, 2000, 100000, 212992, 10000000, -5);
  VALUES(SOL_SOCKET, SO_SNDBUF, 0, 1, 1000, 2304, 5000, 100000, 212992, 10000000, -5);
  VALUES(SOL_SOCKET, SO_RCVBUFFORCE, 10000000);
  VALUES(SOL_SOCKET, SO_PRIORITY, 0, 5, 6, 7, 100, -1);
  VALUES(SOL_SOCKET, SO_RCVLOWAT, -1, 0, 1, 100000, 100000000);
  VALUES(IPPROTO_TCP, TCP_MAXSEG, 0, 87, 88, 536, 1400, 32767, 32768);
  VALUES(IPPROTO_TCP, TCP_KEEPIDLE, 0, 1, 32767, 32768, -1);
  VALUES(IPPROTO_TCP, TCP_KEEPINTVL, 0, 1, 32767, 32768);
  VALUES(IPPROTO_TCP, TCP_KEEPCNT, 0, 1, 127, 128);
  VALUES(IPPROTO_TCP, TCP_SYNCNT, 0, 1, 127, 128);
  VALUES(IPPROTO_TCP, TCP_LINGER2, -1, 0, 1, 60, 61, 121, 1000);
  VALUES(IPPROTO_TCP, TCP_DEFER_ACCEPT, -1, 0, 1, 2, 4, 30, 1000);
  VALUES(IPPROTO_TCP, TCP_WINDOW_CLAMP, 0, 1, 1000, 100000);
  VALUES(IPPROTO_TCP, TCP_USER_TIMEOUT, -1, 0, 1, 60000);
  VALUES(IPPROTO_TCP, TCP_QUICKACK, 0, 1, 2, 3);
  VALUES(IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1, 0, 1000);
  VALUES(IPPROTO_TCP, TCP_FASTOPEN, 0, 5);
  VALUES(IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0, 1, 2);
  VALUES(IPPROTO_IP, IP_TOS, 0, 1, 2, 3, 4, 0x10, 0xb8, 255, 256, -1);
  VALUES(IPPROTO_IP, IP_TTL, -1, 0, 1, 64, 255, 256);
  VALUES(IPPROTO_IP, IP_MTU_DISCOVER, -1, 0, 1, 2, 3, 4, 5, 6);
  VALUES(IPPROTO_IP, IP_MINTTL, -1, 0, 1, 255, 256);
  VALUES(IPPROTO_IPV6, IPV6_UNICAST_HOPS, -2, -1, 0, 1, 255, 256);
  VALUES(IPPROTO_IPV6, IPV6_TCLASS, -2, -1, 0, 1, 3, 4, 0xb8, 255, 256);
  VALUES(IPPROTO_IPV6, IPV6_MTU_DISCOVER, -1, 0, 1, 2, 3, 4, 5, 6);
  VALUES(IPPROTO_IPV6, IPV6_MINHOPCOUNT, -1, 0, 255, 256);
  VALUES(IPPROTO_IPV6, IPV6_V6ONLY, 0, 1, 2, -1);
}
SCENARIO_BOTH(options_ranges, .app = ranges_app, .user = NOBODY);

static void times_app(void) {
  int fd = tcp(0);
  static const struct timeval times[] = {{0, 0}, {1, 500000}, {0, 1}, {0, 4000}, {0, 1000000}, {0, -1}, {-1, 0}, {1L << 40, 0}};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    char label[60];
    snprintf(label, sizeof label, "SO_RCVTIMEO %ld.%ld", (long)times[i].tv_sec, (long)times[i].tv_usec);
    result(label, setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &times[i], sizeof times[i]));
    struct timeval back = {-7, -7};
    socklen_t length = sizeof back;
    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &length);
    say("reads back", "%ld.%06ld, %d bytes", (long)back.tv_sec, (long)back.tv_usec, (int)length);
  }
  static const struct linger lingers[] = {{0, 0}, {1, 0}, {1, 5}, {0, 7}, {5, 100000}};
  for (size_t i = 0; i < sizeof lingers / sizeof lingers[0]; i++) {
    char label[60];
    snprintf(label, sizeof label, "SO_LINGER %d %d", lingers[i].l_onoff, lingers[i].l_linger);
    result(label, setsockopt(fd, SOL_SOCKET, SO_LINGER, &lingers[i], sizeof lingers[i]));
    struct linger back = {-7, -7};
    socklen_t length = sizeof back;
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &back, &length);
    say("reads back", "%d %d", back.l_onoff, back.l_linger);
  }
}
SCENARIO_BOTH(options_times, .app = times_app);

static void congestion_app(void) {
  int fd = tcp(0);
  char name[32] = {0};
  result("reno", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
  socklen_t length = sizeof name;
  result("get", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
  say("name", "%s, %d bytes", name, (int)length);
  result("no such", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6));
  result("empty", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0));
  result("TCP_ULP no such", setsockopt(fd, IPPROTO_TCP, TCP_ULP, "nosuch", 6));
}
SCENARIO(options_congestion, .app = congestion_app);

// ---- Kinds of sockets

static void kinds_app(void) {
  static const int families[] = {AF_INET, AF_INET6}, types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET,
                                                               SOCK_DCCP, 0, 11, SOCK_STREAM | 0x10};
  static const int protocols[] = {0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 255, 9999, -1};
  for (int i = 0; i < 2; i++)
    for (size_t k = 0; k < sizeof types / sizeof types[0]; k++)
      for (size_t m = 0; m < sizeof protocols / sizeof protocols[0]; m++) {
        char label[60];
        snprintf(label, sizeof label, "%s %d %d", i ? "v6" : "v4", types[k], protocols[m]);
        int fd = socket(families[i], types[k], protocols[m]);
        success(label, fd);
        if (fd < 0) continue;
        strcat(label, "'s SO_PROTOCOL");
        say_option(label, fd, SOL_SOCKET, SO_PROTOCOL);
        close(fd);
      }
  success("family 0", socket(0, SOCK_STREAM, 0));
  success("family 99", socket(99, SOCK_STREAM, 0));
  success("AF_UNIX", socket(AF_UNIX, SOCK_STREAM, 0));
  int pair[2];
  result("socketpair", socketpair(AF_INET, SOCK_STREAM, 0, pair));
}
SCENARIO(options_kinds_unprivileged, .app = kinds_app, .user = NOBODY);

static void info_app(void) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  int fd = tcp(0);
  result("TCP_INFO", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length));
  say("state of a new one", "%d", info.tcpi_state);
  int server = listener(APP, 7);
  length = sizeof info;
  getsockopt(server, IPPROTO_TCP, TCP_INFO, &info, &length);
  say("state of a listener", "%d", info.tcpi_state);
  say("backlog", "%u of %u", info.tcpi_unacked, info.tcpi_sacked);
  fd = connected_app();
  static char bytes[100000];
  write_all(fd, bytes, sizeof bytes);
  hear("received");
  length = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  say("state", "%d", info.tcpi_state);
  say("retransmits", "%d", info.tcpi_retransmits);
  say("send MSS", "%u", info.tcpi_snd_mss);
  say("path MTU", "%u", info.tcpi_pmtu);
  say("congestion window is there", "%s", info.tcpi_snd_cwnd > 0 ? "yes" : "no");
  say("round trip is measured", "%s", info.tcpi_rtt > 0 && info.tcpi_rtt < 1000000 ? "yes" : "no");
  say("RTO", "%s", info.tcpi_rto >= 100000 && info.tcpi_rto < 10000000 ? "plausible" : "not");
  say("unacknowledged", "%u", info.tcpi_unacked);
  say_option("TCP_MAXSEG", fd, IPPROTO_TCP, TCP_MAXSEG);
  shutdown(fd, SHUT_WR);
  hear("end");
  for (long end = milliseconds() + 2000; milliseconds() < end && info.tcpi_state != 5; usleep(1000)) {
    length = sizeof info;
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  }
  say("state after SHUT_WR", "%d", info.tcpi_state);
  tell("close");
  say_poll("poll", fd, POLLHUP);
  length = sizeof info;
  getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
  say("state in the end", "%d", info.tcpi_state);
}

static void info_peer(void) {
  int fd = connected_peer();
  static char bytes[100000];
  read_all(fd, bytes, sizeof bytes);
  tell("received");
  say_recv("the end", fd, 0);
  tell("end");
  hear("close");
  close(fd);
}
SCENARIO_BOTH(options_info, .app = info_app, .peer = info_peer);

// What can be seen on the other side.
static void effect_app(void) {
  int fd = tcp(0), port = (int)hear_value();
  if (family == AF_INET) {
    set_option(fd, IPPROTO_IP, IP_TOS, 0x48);
    set_option(fd, IPPROTO_IP, IP_TTL, 33);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x48);
    set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33);
  }
  set_option(fd, IPPROTO_TCP, TCP_MAXSEG, 1000);
  NEED(connect_to(fd, PEER, port) == 0);
  hear("done");
}

static void effect_peer(void) {
  int server = tcp(0), values = 0;
  NEED(bind_to(server, PEER, 0) == 0);
  // The SYN's own TTL and TOS: TCP_SAVE_SYN keeps its headers.
  set_option(server, IPPROTO_TCP, TCP_SAVE_SYN, 1);
  NEED(listen(server, 1) == 0);
  tell_value(port_of(server));
  int fd = accept_one(server);
  unsigned char syn[200];
  socklen_t length = sizeof syn;
  NEED(getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, syn, &length) == 0);
  if (family == AF_INET)
    say("TOS and TTL", "%#x %d", syn[1], syn[8]);
  else
    say("class and hops", "%#x %d", (syn[0] & 15) << 4 | syn[1] >> 4, syn[7]);
  const unsigned char *options = syn + (family == AF_INET ? 20 : 40) + 20;
  for (const unsigned char *at_ = options; at_ < syn + length && *at_ > 0; at_ += *at_ == 1 ? 1 : at_[1]) {
    if (*at_ == 2) say("MSS", "%d", at_[2] << 8 | at_[3]);
    values++;
  }
  say("has options", "%s", values > 0 ? "yes" : "no");
  tell("done");
}
SCENARIO_BOTH(options_effect, .app = effect_app, .peer = effect_peer);
