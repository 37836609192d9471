// Options whose effect shows: on the wire, to the peer, or in how long a call takes.
#include "differential.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>

// What the wire carries, as the peer sees it: packets without their Ethernet headers, those that come in only.
static int sniffer(void) {
  int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(family == AF_INET ? ETHERTYPE_IP : ETHERTYPE_IPV6));
  NEED(fd >= 0);
  return fd;
}

struct segment {
  int hops, class, window, payload;
};

// The next TCP segment from `port` with payload, within two seconds.
static bool next_segment(int fd, int port, struct segment *segment) {
  for (long end = milliseconds() + 2000; milliseconds() < end;) {
    unsigned char packet[65536];
    struct sockaddr_ll from;
    socklen_t length = sizeof from;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, 100) != 1) continue;
    ssize_t bytes = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &length);
    if (bytes < 40 || from.sll_pkttype == PACKET_OUTGOING) continue;
    bool is_v6 = packet[0] >> 4 == 6;
    int headers = is_v6 ? 40 : (packet[0] & 15) * 4;
    if (packet[is_v6 ? 6 : 9] != IPPROTO_TCP) continue;
    const unsigned char *tcp_header = packet + headers;
    if ((tcp_header[0] << 8 | tcp_header[1]) != port) continue;
    int total = is_v6 ? 40 + (packet[4] << 8 | packet[5]) : packet[2] << 8 | packet[3];
    *segment = (struct segment){
      .hops = packet[is_v6 ? 7 : 8],
      .class = is_v6 ? (packet[0] & 15) << 4 | packet[1] >> 4 : packet[1],
      .window = tcp_header[14] << 8 | tcp_header[15],
      .payload = total - headers - (tcp_header[12] >> 4) * 4,
    };
    if (segment->payload > 0) return true;
  }
  return false;
}

static void set_hops_and_class(int fd, int hops, int class) {
  if (family == AF_INET) {
    set_option(fd, IPPROTO_IP, IP_TTL, hops);
    set_option(fd, IPPROTO_IP, IP_TOS, class);
  } else {
    set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops);
    set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, class);
  }
}

// ---- TTL and TOS of segments, before and after they are changed on a connection

static void say_segment(const char *label, int fd, int port) {
  struct segment segment;
  if (next_segment(fd, port, &segment))
    say(label, "hops %d class %#x bytes %d", segment.hops, segment.class, segment.payload);
  else
    say(label, "none");
}

static void hops_app(void) {
  int fd = connected_app();
  tell_value(port_of(fd));
  hear("watching");
  write_all(fd, "one", 3);
  hear("seen");
  set_hops_and_class(fd, 17, 0x20);
  write_all(fd, "four", 4);
  hear("seen");
}

static void hops_peer(void) {
  int fd = connected_peer(), port = (int)hear_value(), wire = sniffer();
  tell("watching");
  say_segment("by default", wire, port);
  tell("seen");
  say_segment("as set", wire, port);
  tell("seen");
  close(fd);
}
SCENARIO_BOTH(option_effects_hops, .app = hops_app, .peer = hops_peer);

// Those of a listener go over to what it accepts.
static void hops_accepted_app(void) {
  int server = listener(APP, 4);
  set_hops_and_class(server, 21, 0x10);
  tell_value(port_of(server));
  int fd = accept_one(server);
  hear("watching");
  write_all(fd, "hello", 5);
  hear("seen");
}

static void hops_accepted_peer(void) {
  int port = (int)hear_value(), fd = tcp(0);
  NEED(connect_to(fd, APP, port) == 0);
  int wire = sniffer();
  tell("watching");
  say_segment("inherited", wire, port);
  tell("seen");
}
SCENARIO_BOTH(option_effects_hops_accepted, .app = hops_accepted_app, .peer = hops_accepted_peer);

// ---- IP_MINTTL: what comes from too far is not there

static void set_least_hops(int fd, int hops) {
  if (family == AF_INET)
    set_option(fd, IPPROTO_IP, IP_MINTTL, hops);
  else
    set_option(fd, IPPROTO_IPV6, 73 /* IPV6_MINHOPCOUNT */, hops);
}

static void far_app(void) {
  int fd = connected_app();
  set_least_hops(fd, 255);
  tell("set");
  say_quiet("from far", fd, POLLIN);
  tell("quiet");
  say_recv("from near", fd, 0);
  tell("done");
}

static void far_peer(void) {
  int fd = connected_peer();
  hear("set");
  write_all(fd, "far", 3);
  hear("quiet");
  set_hops_and_class(fd, 255, 0);
  hear("done");
}
SCENARIO_BOTH(option_effects_least_hops, .app = far_app, .peer = far_peer);

// ---- TCP_CORK: small writes are one segment, sent when uncorked, or after 200 ms

static void cork_app(void) {
  int fd = connected_app();
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  tell_value(port_of(fd));
  hear("watching");
  set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
  for (int i = 0; i < 10; i++) write_all(fd, "0123456789", 10);
  set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
  char answer;
  read_all(fd, &answer, 1); // acknowledges all before: else Linux may hold what is corked next for seconds
  set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
  long start = milliseconds();
  write_all(fd, "later", 5);
  hear("seen");
  say_took("held back for", start, 100, 1500);
}

static void cork_peer(void) {
  int fd = connected_peer(), port = (int)hear_value(), wire = sniffer();
  struct segment segment;
  tell("watching");
  NEED(next_segment(wire, port, &segment));
  say("uncorked at once", "%d bytes", segment.payload);
  char bytes[100];
  read_all(fd, bytes, sizeof bytes);
  write_all(fd, "!", 1);
  NEED(next_segment(wire, port, &segment));
  say("not uncorked", "%d bytes", segment.payload);
  tell("seen");
  close(fd);
}
SCENARIO_BOTH(option_effects_cork, .app = cork_app, .peer = cork_peer);

// Messages in two parts, with a pause before the second, one in answer to another: no part waits until the peer feels like
// acknowledging what came before.

enum { CORKED_ANSWERS = 60, CORKED_HEAD = 240, CORKED_BODY = 1024 };

static void corked_answers_app(void) {
  static char bytes[CORKED_BODY];
  int fd = connected_app();
  for (int i = 0; i < CORKED_ANSWERS; i++) {
    char question;
    read_all(fd, &question, 1);
    set_option(fd, IPPROTO_TCP, TCP_CORK, 1);
    write_all(fd, bytes, CORKED_HEAD);
    usleep(2000);
    write_all(fd, bytes, CORKED_BODY);
    set_option(fd, IPPROTO_TCP, TCP_CORK, 0);
  }
}

static void corked_answers_peer(void) {
  char bytes[CORKED_HEAD + CORKED_BODY];
  int fd = connected_peer();
  long start = milliseconds();
  for (int i = 0; i < CORKED_ANSWERS; i++) {
    write_all(fd, "?", 1);
    read_all(fd, bytes, sizeof bytes);
  }
  say_took("all answers", start, 0, 1000); // 40 ms for each, were it so
}
SCENARIO_BOTH(option_effects_corked_answers, .app = corked_answers_app, .peer = corked_answers_peer);

// ---- TCP_MAXSEG: the peer sends no larger segments, and none larger are sent

static void segments_app(void) {
  int fd = tcp(0), port = (int)hear_value();
  set_option(fd, IPPROTO_TCP, TCP_MAXSEG, 600);
  NEED(connect_to(fd, PEER, port) == 0);
  tell_value(port_of(fd));
  hear("watching");
  char bytes[3000] = {0};
  write_all(fd, bytes, sizeof bytes);
  read_all(fd, bytes, sizeof bytes);
  hear("done");
}

static void segments_peer(void) {
  int server = listener(PEER, 4);
  tell_value(port_of(server));
  int fd = accept_one(server), port = (int)hear_value(), wire = sniffer();
  tell("watching");
  // Natively the sender's time stamps take 12 of the 600.
  int largest = 0;
  struct segment segment;
  for (int bytes = 0; bytes < 3000 && next_segment(wire, port, &segment); bytes += segment.payload)
    if (segment.payload > largest) largest = segment.payload;
  say("segments", "%s", largest <= 600 || largest % 588 == 0 || largest % 600 == 0 ? "of at most 600" : "larger");
  char bytes[3000] = {0};
  read_all(fd, bytes, sizeof bytes);
  int own = int_option(fd, IPPROTO_TCP, TCP_MAXSEG);
  say("the peer's", "%s", own <= 600 && own >= 588 ? "at most 600" : "larger");
  write_all(fd, bytes, sizeof bytes);
  tell("done");
}
SCENARIO_BOTH(option_effects_segments, .app = segments_app, .peer = segments_peer);

// ---- SO_RCVBUF holds the peer back, SO_SNDBUF the app; who is not read takes no more

static void buffers_app(void) {
  int fd = tcp(0), port = (int)hear_value();
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 16384);
  set_option(fd, SOL_SOCKET, SO_SNDBUF, 16384);
  NEED(connect_to(fd, PEER, port) == 0);
  long taken = fill(fd);
  say("sent to one that does not read", "%s", taken < 200000 && taken >= 8192 ? "little" : "much");
  tell_value(taken);
  hear("filled");
  static char bytes[1000000];
  long count = hear_value();
  NEED(count <= (long)sizeof bytes);
  read_all(fd, bytes, (size_t)count);
  say("all arrived", "yes");
  tell("done");
}

static void buffers_peer(void) {
  int server = tcp(0);
  set_option(server, SOL_SOCKET, SO_RCVBUF, 8192);
  set_option(server, SOL_SOCKET, SO_SNDBUF, 16384);
  NEED(bind_to(server, PEER, 0) == 0 && listen(server, 4) == 0);
  tell_value(port_of(server));
  int fd = accept_one(server);
  long sent = hear_value(), taken = fill(fd);
  say("the app does not read", "%s", taken < 200000 ? "little" : "much");
  tell("filled");
  static char bytes[1000000];
  NEED(sent <= (long)sizeof bytes);
  read_all(fd, bytes, (size_t)sent);
  tell_value(taken);
  hear("done");
}
SCENARIO_BOTH(option_effects_buffers, .app = buffers_app, .peer = buffers_peer);

// ---- TCP_NOTSENT_LOWAT: not much is taken that cannot be sent

static void unsent_app(void) {
  int fd = connected_app();
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384);
  long taken = fill(fd), limit = hear_value();
  say("beyond what the peer has room for", "%s", taken - limit < 200000 ? "little" : "much");
  tell("done");
}

static void unsent_peer(void) {
  int server_fd = connected_peer();
  tell_value(200000); // at least what the kernel announces of its own accord
  hear("done");
  close(server_fd);
}
SCENARIO_BOTH(option_effects_unsent, .app = unsent_app, .peer = unsent_peer);

// ---- Keepalive: an idle peer is asked

static void keepalive_app(void) {
  int fd = connected_app();
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  tell("set");
  hear("done");
  say_error("still there", fd);
}

static long idle_time(int fd) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  NEED(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  return info.tcpi_last_ack_recv;
}

static void keepalive_peer(void) {
  int fd = connected_peer();
  hear("set");
  // A probe is an acknowledgement: the time since the last one begins anew.
  bool is_asked = false;
  for (long end = milliseconds() + 4000, idle = 0; milliseconds() < end && !is_asked; usleep(20000)) {
    long since = idle_time(fd);
    is_asked = since < idle && idle > 500;
    idle = since;
  }
  say("asked while idle", "%s", is_asked ? "yes" : "no");
  tell("done");
}
SCENARIO_BOTH(option_effects_keepalive, .app = keepalive_app, .peer = keepalive_peer);

// ---- TCP_SYNCNT: one more SYN, then it is over. A listener whose queue is full drops them.

static void attempts_app(void) {
  int port = (int)hear_value(), queued[2] = {tcp(0), tcp(0)};
  NEED(connect_to(queued[0], PEER, port) == 0);
  hear("full");
  int fd = tcp(0);
  set_option(fd, IPPROTO_TCP, TCP_SYNCNT, 1);
  long start = milliseconds();
  result("connect", connect_to(fd, PEER, port));
  say_took("time", start, 2000, 5000);
  tell("done");
}

static void attempts_peer(void) {
  int server = tcp(0);
  NEED(bind_to(server, PEER, 0) == 0 && listen(server, 0) == 0);
  tell_value(port_of(server));
  NEED(wait_for(server, POLLIN) != 0);
  tell("full");
  hear("done");
}
SCENARIO_BOTH(option_effects_attempts, .app = attempts_app, .peer = attempts_peer);

// ---- SIOCOUTQ: what the peer has no room for is counted

static void queued_app(void) {
  int fd = connected_app(), bytes = -1;
  set_nonblocking(fd, true);
  long taken = fill(fd);
  result("SIOCOUTQ", ioctl(fd, TIOCOUTQ, &bytes));
  say("queued", "%s", bytes > 0 && bytes <= taken ? "some" : "wrong");
  tell_value(taken);
  for (long end = milliseconds() + 5000; milliseconds() < end && bytes != 0; usleep(5000)) ioctl(fd, TIOCOUTQ, &bytes);
  say("in the end", "%d", bytes);
  tell("done");
}

static void queued_peer(void) {
  int fd = connected_peer();
  long left = hear_value();
  static char bytes[65536];
  while (left > 0) {
    ssize_t count = recv(fd, bytes, sizeof bytes, 0);
    NEED(count > 0);
    left -= count;
  }
  hear("done");
}
SCENARIO_BOTH(option_effects_queued, .app = queued_app, .peer = queued_peer);
