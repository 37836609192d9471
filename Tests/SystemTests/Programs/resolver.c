// Asks name servers in the ways that names.py cannot: whole answers (resolv.h), from threads with small stacks, and by
// getaddrinfo_a. Prints what came; natively and intercepted the same.
#define _GNU_SOURCE
#include <arpa/nameser.h>
#include <netdb.h>
#include <pthread.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>

enum { THREAD_COUNT = 8, LOOKUP_COUNT = 50, STACK_BYTES = 64 * 1024 };

static unsigned char answer[4096];

static void tell(const char *call, int bytes) {
  if (bytes < 0) printf("%s: %s\n", call, hstrerror(h_errno));
  else printf("%s: %d bytes, code %d, %d records\n", call, bytes, answer[3] & 15, answer[7]);
}

static void ask(void) {
  tell("res_query", res_query("text.example.net", ns_c_in, ns_t_txt, answer, sizeof answer));
  tell("no such name", res_query("nosuch.example.net", ns_c_in, ns_t_txt, answer, sizeof answer));
  tell("no such record", res_query("both.example.net", ns_c_in, ns_t_mx, answer, sizeof answer));
  tell("res_search", res_search("text", ns_c_in, ns_t_txt, answer, sizeof answer));
  tell("res_querydomain", res_querydomain("both", "example.net", ns_c_in, ns_t_a, answer, sizeof answer));
  tell("cut", res_query("text.example.net", ns_c_in, ns_t_txt, answer, 20) > 0 ? 20 : -1);
  unsigned char query[512];
  int bytes = res_mkquery(ns_o_query, "both.example.net", ns_c_in, ns_t_aaaa, NULL, 0, NULL, query, sizeof query);
  tell("res_send", res_send(query, bytes, answer, sizeof answer));
  printf("its id: %s\n", memcmp(query, answer, 2) == 0 ? "the query's" : "another");
  struct __res_state state;
  memset(&state, 0, sizeof state);
  res_ninit(&state);
  tell("res_nquery", res_nquery(&state, "both.example.net", ns_c_in, ns_t_aaaa, answer, sizeof answer));
  res_nclose(&state);
}

static void *look_up(void *count) {
  for (int index = 0; index < LOOKUP_COUNT; index++) {
    struct addrinfo *list;
    struct hostent entry, *found;
    char buffer[1024];
    int error;
    if (getaddrinfo("both", "80", NULL, &list) == 0) {
      *(int *)count += 1;
      freeaddrinfo(list);
    }
    gethostbyname_r("alias", &entry, buffer, sizeof buffer, &found, &error);
    *(int *)count += found != NULL;
  }
  return NULL;
}

int main(void) {
  ask();
  pthread_t threads[THREAD_COUNT];
  int counts[THREAD_COUNT] = {0}, sum = 0;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  for (int index = 0; index < THREAD_COUNT; index++)
    pthread_create(&threads[index], &attributes, look_up, &counts[index]);
  for (int index = 0; index < THREAD_COUNT; index++) {
    pthread_join(threads[index], NULL);
    sum += counts[index];
  }
  printf("found by threads: %d\n", sum);
  struct gaicb request = {.ar_name = "alias", .ar_service = "80"}, *list[] = {&request};
  int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
  while (gai_error(&request) == EAI_INPROGRESS) gai_suspend((const struct gaicb *const *)list, 1, NULL);
  printf("getaddrinfo_a: %d, %d, %s\n", error, gai_error(&request), request.ar_result != NULL ? "a list" : "none");
  freeaddrinfo(request.ar_result);
  return 0;
}
