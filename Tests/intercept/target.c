// Built statically, or given privileges: a program that cannot be preloaded.
int main(void) { return 0; }
