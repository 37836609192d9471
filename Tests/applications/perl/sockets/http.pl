#!/usr/bin/perl
# HTTP::Tiny as a client of lib/peer_http.py at $PEER and $PEER6.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use HTTP::Tiny;

my $bytes = $ENV{TRANSFER_BYTES};

sub check {
    my ($what, $expected, $actual) = @_;
    die "$what: '$actual', expected '$expected'\n" unless $expected eq $actual;
    print "ok: $what\n";
}

my $http = HTTP::Tiny->new(keep_alive => 1, timeout => 60, max_size => 200_000_000, verify_SSL => 1,
    SSL_options => { SSL_ca_file => "$ENV{EXCHANGE}/ca.pem" });

# (No HTTPS to an IPv6 address: HTTP::Tiny looks for one with its brackets in the certificate.)
for my $url ("http://$ENV{PEER}:8000", "http://[$ENV{PEER6}]:8000", "https://$ENV{PEER}:8443") {
    for my $path ('random', 'chunked') {
        my $answer = $http->get("$url/$path/$bytes");
        die "$url/$path: $answer->{status} $answer->{content}\n" unless $answer->{success};
        check("$url/$path", md5_hex(substr $answer->{content}, 0, $bytes), substr $answer->{content}, $bytes);
    }
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $random, my ($data), $bytes;
    my $answer = $http->put("$url/hash", { content => $data });
    check("$url: PUT", md5_hex($data), $answer->{content});

    # In chunks, as a code reference gives them.
    my $offset = 0;
    $answer = $http->post("$url/hash", { content => sub {
        my $chunk = substr $data, $offset, 50_000;
        $offset += length $chunk;
        return $chunk;
    } });
    check("$url: POST in chunks", md5_hex($data), $answer->{content});

    for my $number (1 .. 100) {
        $answer = $http->get("$url/random/$number");
        die "$url: request $number: $answer->{content}\n" if md5_hex(substr $answer->{content}, 0, $number) ne substr $answer->{content}, $number;
    }
    print "ok: $url: 100 requests\n";
}

my $base = "http://$ENV{PEER}";
my %failures = (
    "$base:7001/" => qr/Connection refused/,
    "$base:7002/" => qr/timed out/,
    "$base:8000/silent" => qr/Timed out/,
    "$base:8000/short" => qr/Unexpected end of stream/,
);
my $impatient = HTTP::Tiny->new(timeout => 1);
for my $url (sort keys %failures) {
    my $answer = $impatient->get($url);
    die "$url: $answer->{status} $answer->{content}\n" unless $answer->{status} == 599 && $answer->{content} =~ $failures{$url};
    print "ok: $url: $answer->{content}\n";
}
# Who is not the certificate's authority is not believed.
my $stranger = HTTP::Tiny->new(verify_SSL => 1)->get("https://$ENV{PEER}:8443/random/1");
die "an unknown certificate was taken: $stranger->{status}\n" unless $stranger->{content} =~ /certificate verify failed/;
print "ok: an unknown certificate is refused\n";
