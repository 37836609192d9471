#!/usr/bin/perl
# server.pl PORT: speaks lib/peer.py's protocol. A process for each connection; one more for datagrams.
use strict;
use warnings;
use Digest::MD5;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use POSIX qw(:sys_wait_h);

use constant CHUNK => 65536;
my $port = shift;

# Bytes that came behind a request's line belong to what follows it.
my $pending = '';

sub more {
    my $socket = shift;
    my $got = sysread $socket, my $data, CHUNK;
    die "read: $!\n" unless defined $got;
    return $data;
}

sub line {
    my $socket = shift;
    while (1) {
        return $1 if $pending =~ s/^(.*?)\n//;
        my $data = more($socket);
        return undef if $data eq '';
        $pending .= $data;
    }
}

sub send_all {
    my ($socket, $data) = @_;
    my $sent = 0;
    while ($sent < length $data) {
        my $count = syswrite $socket, $data, length($data) - $sent, $sent;
        die "write: $!\n" unless defined $count;
        $sent += $count;
    }
}

sub put {
    my ($socket, $left) = @_;
    my $digest = Digest::MD5->new;
    while ($left > 0) {
        $pending = more($socket) if $pending eq '';
        die "the stream ended $left bytes early\n" if $pending eq '';
        my $data = substr $pending, 0, $left, '';
        $digest->add($data);
        $left -= length $data;
    }
    send_all($socket, $digest->hexdigest . "\n");
}

sub get {
    my ($socket, $left) = @_;
    my $digest = Digest::MD5->new;
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    while ($left > 0) {
        sysread $random, my $data, $left < CHUNK ? $left : CHUNK;
        $digest->add($data);
        send_all($socket, $data);
        $left -= length $data;
    }
    send_all($socket, $digest->hexdigest . "\n");
}

sub echo {
    my $socket = shift;
    for (my $data = $pending; ; ) {
        send_all($socket, $data);
        $data = more($socket);
        last if $data eq '';
    }
    $socket->shutdown(1);
}

sub connection {
    my $socket = shift;
    while (defined(my $request = line($socket))) {
        if    ($request =~ /^PUT (\d+)$/) { put($socket, $1) }
        elsif ($request =~ /^GET (\d+)$/) { get($socket, $1) }
        elsif ($request eq 'ECHO')        { echo($socket); last }
        else                              { die "no such request: $request\n" }
    }
    close $socket or die "close: $!\n";
}

sub datagrams {
    my $select = IO::Select->new(@_);
    while (1) {
        for my $socket ($select->can_read) {
            my $from = $socket->recv(my $data, CHUNK);
            die "recv: $!\n" unless defined $from;
            defined $socket->send($data, 0, $from) or die "send: $!\n";
        }
    }
}

my %common = (LocalPort => $port, ReuseAddr => 1);
my $listener4 = IO::Socket::INET->new(%common, Listen => 4096, Proto => 'tcp') or die "listener: $@\n";
my $listener6 = IO::Socket::IP->new(%common, LocalHost => '::', V6Only => 1, Listen => 4096, Type => SOCK_STREAM)
    or die "listener: $@\n";
my $udp4 = IO::Socket::INET->new(LocalPort => $port, Proto => 'udp') or die "udp: $@\n";
my $udp6 = IO::Socket::IP->new(LocalHost => '::', V6Only => 1, LocalPort => $port, Type => SOCK_DGRAM) or die "udp: $@\n";

my $datagrams = fork // die "fork: $!\n";
if ($datagrams == 0) { datagrams($udp4, $udp6) }
$SIG{TERM} = sub { kill TERM => $datagrams; waitpid $datagrams, 0; exit 0 };
$SIG{PIPE} = 'IGNORE';

my $select = IO::Select->new($listener4, $listener6);
while (1) {
    for my $listener ($select->can_read(1)) {
        my $socket = $listener->accept or die "accept: $!\n";
        my $child = fork // die "fork: $!\n";
        if ($child == 0) {
            $SIG{TERM} = 'DEFAULT';
            close $_ for $listener4, $listener6, $udp4, $udp6;
            eval { connection($socket); 1 } or do {
                # A client that resets is its own affair; what else goes wrong must be seen.
                print STDERR "server: $@" unless $@ =~ /reset by peer|Broken pipe|ended/;
                POSIX::_exit(1);
            };
            POSIX::_exit(0);
        }
        close $socket;
    }
    while ((my $ended = waitpid -1, WNOHANG) > 0) { die "the datagrams' process ended\n" if $ended == $datagrams }
}
