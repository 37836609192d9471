#!/usr/bin/perl
# client.pl CONNECTIONS: a client of lib/peer.py's protocol at $PEER and $PEER6, port 7000.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use Errno qw(:POSIX);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use Time::HiRes qw(time);

use constant { CHUNK => 65536, PORT => 7000, PATIENCE => 120 };
my $connections = shift;
my $bytes = $ENV{TRANSFER_BYTES};
$SIG{PIPE} = 'IGNORE';
$SIG{ALRM} = sub { die "not done within the time limit\n" };
alarm 280;

sub check {
    my ($what, $expected, $actual) = @_;
    die "$what: '$actual', expected '$expected'\n" unless $expected eq $actual;
    print "ok: $what\n";
}

sub random {
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my $data, shift;
    return $data;
}

sub connect_to {
    my ($host, $port, %more) = @_;
    my $class = $host =~ /:/ ? 'IO::Socket::IP' : 'IO::Socket::INET';
    return $class->new(PeerHost => $host, PeerPort => $port, Proto => 'tcp', %more);
}

sub send_all {
    my ($socket, $data) = @_;
    for (my $sent = 0; $sent < length $data; ) {
        $sent += syswrite($socket, $data, CHUNK, $sent) // die "write: $!\n";
    }
}

sub read_exactly {
    my ($socket, $left) = @_;
    my $data = '';
    while ($left > 0) {
        my $got = sysread($socket, $data, $left, length $data) // die "read: $!\n";
        die "the stream ended $left bytes early\n" if $got == 0;
        $left -= $got;
    }
    return $data;
}

sub transfer {
    my $host = shift;
    my $socket = connect_to($host, PORT) or die "connect: $@\n";
    my $data = random($bytes);
    send_all($socket, "PUT $bytes\n");
    send_all($socket, $data);
    check("$host: PUT", md5_hex($data) . "\n", read_exactly($socket, 33));
    send_all($socket, "GET $bytes\n");
    my $received = read_exactly($socket, $bytes);
    check("$host: GET", md5_hex($received) . "\n", read_exactly($socket, 33));

    # Another process writes what comes back here, and ends its half of the connection.
    send_all($socket, "ECHO\n");
    my $child = fork // die "fork: $!\n";
    if ($child == 0) {
        send_all($socket, $data);
        shutdown $socket, 1 or die "shutdown: $!\n";
        exit 0;
    }
    check("$host: ECHO", md5_hex($data), md5_hex(read_exactly($socket, $bytes)));
    check("$host: the end behind it", 0, sysread($socket, my $none, 1) // "$!");
    waitpid $child, 0;
    check("$host: the writer's exit status", 0, $?);
}

# All in one process, by IO::Select: each sends a request, whose answers come in any order.
sub many {
    my $host = shift;
    my $select = IO::Select->new;
    my (%expected, %received);
    for my $number (1 .. $connections) {
        my $socket = connect_to($host, PORT) or die "connection $number: $@\n";
        $select->add($socket);
        my $data = random(1000);
        $expected{$socket} = md5_hex($data) . "\n";
        $received{$socket} = '';
        send_all($socket, "PUT 1000\n$data");
    }
    my $done = 0;
    while ($done < $connections) {
        my @ready = $select->can_read(PATIENCE) or die "no answer\n";
        for my $socket (@ready) {
            sysread($socket, $received{$socket}, 100, length $received{$socket}) or die "read: $!\n";
            next if length $received{$socket} < 33;
            die "$host: another hash\n" if $received{$socket} ne $expected{$socket};
            $select->remove($socket);
            $done++;
        }
    }
    print "ok: $host: $connections connections at once\n";
}

sub datagrams {
    my $host = shift;
    my $class = $host =~ /:/ ? 'IO::Socket::IP' : 'IO::Socket::INET';
    my $socket = $class->new(PeerHost => $host, PeerPort => PORT, Proto => 'udp', Type => SOCK_DGRAM) or die "udp: $@\n";
    my $select = IO::Select->new($socket);
    for my $size (0, 1, 1472, 1473, 9000, 60000) {
        my ($data, $answer, $came) = (random($size), '', 0);
        for (1 .. 10) {
            defined $socket->send($data) or die "send: $!\n";
            next unless $select->can_read(2);
            defined $socket->recv($answer, CHUNK) or die "recv: $!\n";
            last if $came = $answer eq $data;
        }
        check("$host: datagram of $size", 1, $came);
    }
    # An answer of ICMP.
    my $closed = $class->new(PeerHost => $host, PeerPort => PORT + 1, Proto => 'udp', Type => SOCK_DGRAM) or die "udp: $@\n";
    $closed->send('x');
    IO::Select->new($closed)->can_read(10) or die "$host: no word of a closed port\n";
    my $from = $closed->recv(my $none, 1);
    check("$host: datagram to a closed port", ECONNREFUSED, defined $from ? 0 : $! + 0);
}

sub errors {
    my $host = shift;
    check("$host: refused", ECONNREFUSED, connect_to($host, PORT + 1) ? 0 : $! + 0);
    my $begin = time;
    check("$host: connect's timeout", ETIMEDOUT, connect_to($host, PORT + 2, Timeout => 1) ? 0 : $! + 0);
    my $took = time - $begin;
    check("$host: its time", 1, $took > 0.9 && $took < 10);

    my $silent = connect_to($host, PORT) or die "connect: $@\n";
    send_all($silent, "SILENT\n");
    my @ready = IO::Select->new($silent)->can_read(0.5);
    check("$host: silence", 0, scalar @ready);
    my $reset = connect_to($host, PORT) or die "connect: $@\n";
    send_all($reset, "RESET\n");
    check("$host: reset", ECONNRESET, defined sysread($reset, my $none, 1) ? 0 : $! + 0);
}

# The kernel asks for a neighbour for three seconds; in the meantime the others go on.
my $unreachable = fork // die "fork: $!\n";
if ($unreachable == 0) {
    check("no route", ENETUNREACH, connect_to($ENV{NO_ROUTE}, PORT) ? 0 : $! + 0);
    for my $host (@ENV{'UNREACHABLE', 'UNREACHABLE6'}) {
        check("$host: unreachable", EHOSTUNREACH, connect_to($host, PORT) ? 0 : $! + 0);
    }
    exit 0;
}
for my $host (@ENV{'PEER', 'PEER6'}) {
    transfer($host);
    many($host);
    datagrams($host);
    errors($host);
}
waitpid $unreachable, 0;
check("exit status of who looks for the unreachable", 0, $?);
