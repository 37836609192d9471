# Names and interfaces as a program asks for them: prints one line for each question. What the numeric and the service
# sections print natively is what they must print intercepted.
import socket
import sys

S = socket


def text(value):
    if isinstance(value, tuple) and len(value) == 5:
        family, kind, protocol, name, address = value
        return f"{int(family)}/{int(kind)}/{protocol}/{name}/{address}"
    return str(value)


def ask(call, *arguments):
    try:
        answer = getattr(S, call)(*arguments)
        shown = " ".join(text(one) for one in answer) if isinstance(answer, list) else text(answer)
    except (S.gaierror, S.herror) as error:
        shown = f"error {error.args[0]}"
    except OSError as error:
        shown = f"errno {error.errno}"
    print(call, *arguments, "->", shown)


def numeric():
    for name in ["1.2.3.4", "10.1", "0x7f.1", "::1", "::ffff:1.2.3.4", "fe80::1%lo", "fe80::1%77",
                 "fe80::1%zz", "fd00::1%lo", "fd00::1%5", "*", "", None]:
        for family in [0, S.AF_INET, S.AF_INET6, 99]:
            for flags in [0, S.AI_CANONNAME, S.AI_NUMERICHOST, S.AI_V4MAPPED, S.AI_V4MAPPED | S.AI_ALL]:
                ask("getaddrinfo", name, 80, family, S.SOCK_STREAM, 0, flags)
    for flags in [0, S.AI_NUMERICSERV, 0x80000]:
        for service in [None, "http", "domain", "tftp", "nosuch", "80", "70000", "-1", "8x", "", 0, 65535]:
            for kind, protocol in [(0, 0), (1, 0), (2, 0), (3, 0), (77, 0), (0, 6), (0, 17), (1, 17), (5, 0)]:
                ask("getaddrinfo", "1.2.3.4", service, 0, kind, protocol, flags)
    for address in [("1.2.3.4", 80), ("1.2.3.4", 53), ("::1", 514, 0, 0), ("fe80::1", 9, 0, 1), ("fe80::1", 9, 0, 77)]:
        for flags in [S.NI_NUMERICHOST, S.NI_NUMERICHOST | S.NI_NUMERICSERV, S.NI_NUMERICHOST | S.NI_DGRAM,
                      S.NI_NUMERICHOST | S.NI_NAMEREQD]:
            ask("getnameinfo", address, flags)
    for name in ["1.2.3.4", "10.1", "::1", ""]:
        ask("gethostbyname", name)


def look_up(names):
    for name in names:
        ask("getaddrinfo", name, 80, 0, S.SOCK_STREAM, 0, S.AI_CANONNAME)
        for family in [S.AF_INET, S.AF_INET6]:
            ask("getaddrinfo", name, 80, family, S.SOCK_STREAM)
        ask("getaddrinfo", name, 80, S.AF_INET6, S.SOCK_STREAM, 0, S.AI_V4MAPPED)
        ask("gethostbyname_ex", name)


if sys.argv[1] == "numeric":
    numeric()
elif sys.argv[1] == "names":
    look_up(sys.argv[2:])
elif sys.argv[1] == "address":
    for address in sys.argv[2:]:
        ask("gethostbyaddr", address)
        ask("getnameinfo", (address, 80), 0)
        ask("getnameinfo", (address, 80), S.NI_NAMEREQD)
elif sys.argv[1] == "interfaces":
    ask("if_nameindex")
    ask("if_nametoindex", "nc0")
    ask("if_indextoname", 2)
    ask("if_nametoindex", "eth0")
    ask("if_indextoname", 77)
