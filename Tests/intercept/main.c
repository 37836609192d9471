// Runs the scenario named by the first argument.
#include "app.h"

int main(int count, char **arguments) {
  static const struct scenario *const groups[] = {connect_scenarios, listen_scenarios, process_scenarios,
                                                  oracle_scenarios,  exec_scenarios,   descriptor_scenarios};
  CHECK(count == 2);
  alarm(60); // a hang is a failure
  for (unsigned group = 0; group < sizeof groups / sizeof groups[0]; group++)
    for (const struct scenario *one = groups[group]; one->name != NULL; one++)
      if (strcmp(one->name, arguments[1]) == 0) {
        one->run();
        return 0;
      }
  printf("no scenario %s\n", arguments[1]);
  return 2;
}
