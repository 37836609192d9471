#!/usr/bin/ruby
# client.rb CONNECTIONS: a client of lib/peer.py's protocol at $PEER and $PEER6, port 7000, and of lib/peer_http.py's.
require 'digest'
require 'net/http'
require 'openssl'
require 'socket'
require 'stringio'
require 'timeout'

PORT = 7000
BYTES = Integer(ENV.fetch('TRANSFER_BYTES'))

def check(what, expected, actual)
  raise "#{what}: #{actual.inspect}, expected #{expected.inspect}" unless expected == actual

  puts "ok: #{what}"
end

def md5(data) = Digest::MD5.hexdigest(data)

# The class of the exception that the block ends by.
def failure
  yield
  nil
rescue SystemCallError, IOError, Timeout::Error, OpenSSL::SSL::SSLError => e
  e.class
end

def transfer(host)
  data = Random.bytes(BYTES)
  TCPSocket.open(host, PORT) do |socket|
    socket.write("PUT #{BYTES}\n", data)
    check("#{host}: PUT", md5(data), socket.gets.chomp)
    socket.write("GET #{BYTES}\n")
    received = socket.read(BYTES)
    check("#{host}: GET", md5(received), socket.gets.chomp)
    socket.write("ECHO\n")
    writer = Thread.new do
      socket.write(data)
      socket.close_write
    end
    check("#{host}: ECHO", md5(data), md5(socket.read)) # until the end
    writer.join
  end
end

def many(host, count)
  sockets = Array.new(count) { TCPSocket.new(host, PORT) }
  expected = sockets.to_h do |socket|
    data = Random.bytes(1000)
    socket.write("PUT 1000\n", data)
    [socket, md5(data)]
  end
  until expected.empty?
    readable = IO.select(expected.keys, nil, nil, 120)&.first
    raise "#{host}: no answer" unless readable

    readable.each { |socket| raise "#{host}: another hash" if socket.gets.chomp != expected.delete(socket) }
  end
  puts "ok: #{host}: #{count} connections at once"

  # And threads, each with a connection of its own.
  Array.new(50) { Thread.new { transfer_small(host) } }.each(&:join)
  puts "ok: #{host}: 50 threads"
ensure
  sockets&.each(&:close)
end

def transfer_small(host)
  TCPSocket.open(host, PORT) do |socket|
    socket.write("GET 10000\n")
    data = socket.read(10_000)
    raise "#{host}: another hash" if socket.gets.chomp != md5(data)
  end
end

def datagrams(host)
  udp = UDPSocket.new(host.include?(':') ? Socket::AF_INET6 : Socket::AF_INET)
  udp.connect(host, PORT)
  [0, 1, 1472, 1473, 9000, 60_000].each do |size|
    data = Random.bytes(size)
    came = 10.times.any? do
      udp.send(data, 0)
      IO.select([udp], nil, nil, 2) && udp.recvfrom(65_536).first == data
    end
    check("#{host}: datagram of #{size}", true, came)
  end
  udp.connect(host, PORT + 1)
  udp.send('x', 0)
  check("#{host}: datagram to a closed port", Errno::ECONNREFUSED, failure { Timeout.timeout(10) { udp.recv(1) } })
end

def errors(host)
  check("#{host}: refused", Errno::ECONNREFUSED, failure { TCPSocket.new(host, PORT + 1) })
  check("#{host}: connect's timeout", Errno::ETIMEDOUT, failure { Socket.tcp(host, PORT + 2, connect_timeout: 1) })
  TCPSocket.open(host, PORT) do |socket|
    socket.write("SILENT\n")
    check("#{host}: silence", IO::EAGAINWaitReadable, failure { socket.read_nonblock(1) })
    check("#{host}: read's timeout", Timeout::Error, failure { Timeout.timeout(0.5) { socket.read(1) } })
  end
  TCPSocket.open(host, PORT) do |socket|
    socket.write("RESET\n")
    check("#{host}: reset", Errno::ECONNRESET, failure { socket.readpartial(1) })
  end
end

# One keepalive connection: gets, a put with a length, a post in chunks, many small ones.
def http(url)
  uri = URI(url)
  options = { use_ssl: uri.scheme == 'https', ca_file: "#{ENV.fetch('EXCHANGE')}/ca.pem", open_timeout: 60, read_timeout: 60 }
  Net::HTTP.start(uri.hostname, uri.port, nil, **options) do |client|
    %w[random chunked].each do |path|
      body = client.get("/#{path}/#{BYTES}").body
      check("#{url}: #{path}", body[BYTES..], md5(body[0, BYTES]))
    end
    data = Random.bytes(BYTES)
    check("#{url}: PUT", md5(data), client.put('/hash', data, 'Content-Type' => 'application/octet-stream').body)
    post = Net::HTTP::Post.new('/hash', 'Transfer-Encoding' => 'chunked', 'Content-Type' => 'application/octet-stream')
    post.body_stream = StringIO.new(data)
    check("#{url}: POST in chunks", md5(data), client.request(post).body)
    100.times do |number|
      body = client.get("/random/#{number}").body
      raise "#{url}: another hash" if md5(body[0, number]) != body[number..]
    end
  end
  puts "ok: #{url}: 100 requests"
end

def http_errors(host)
  check("#{host}: HTTP refused", Errno::ECONNREFUSED, failure { Net::HTTP.get(host, '/', PORT + 1) })
  check("#{host}: open_timeout", Net::OpenTimeout, failure { Net::HTTP.start(host, PORT + 2, nil, open_timeout: 1) })
  impatient = Net::HTTP.new(host, 8000, nil)
  impatient.read_timeout = 1
  impatient.max_retries = 0
  check("#{host}: read_timeout", Net::ReadTimeout, failure { impatient.get('/silent') })
  check("#{host}: bytes of half a body", 100, impatient.get('/short').body.bytesize) # an end, for Net::HTTP
  check("#{host}: an unknown certificate", OpenSSL::SSL::SSLError,
        failure { Net::HTTP.start(host, 8443, nil, use_ssl: true) { nil } })
end

peers = ENV.values_at('PEER', 'PEER6')
# The kernel asks for a neighbour for three seconds; in the meantime the others go on.
unreachable = Thread.new do
  check('no route', Errno::ENETUNREACH, failure { TCPSocket.new(ENV.fetch('NO_ROUTE'), PORT) })
  ENV.values_at('UNREACHABLE', 'UNREACHABLE6').each do |host|
    check("#{host}: unreachable", Errno::EHOSTUNREACH, failure { TCPSocket.new(host, PORT) })
  end
end
peers.each do |host|
  transfer(host)
  many(host, Integer(ARGV[0]))
  datagrams(host)
  errors(host)
end
["http://#{peers[0]}:8000", "http://[#{peers[1]}]:8000", "https://#{peers[0]}:8443", "https://[#{peers[1]}]:8443"].each { |url| http(url) }
http_errors(peers[0])
unreachable.join
