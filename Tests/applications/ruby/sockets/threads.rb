#!/usr/bin/ruby
# threads.rb PORT: speaks lib/peer.py's protocol; a thread for each connection, one for datagrams.
require 'digest'
require 'socket'

CHUNK = 65_536

def put(socket, left)
  digest = Digest::MD5.new
  while left.positive?
    data = socket.readpartial([left, CHUNK].min)
    digest << data
    left -= data.bytesize
  end
  socket.write("#{digest.hexdigest}\n")
end

def get(socket, left)
  digest = Digest::MD5.new
  while left.positive?
    data = Random.bytes([left, CHUNK].min)
    digest << data
    socket.write(data)
    left -= data.bytesize
  end
  socket.write("#{digest.hexdigest}\n")
end

def connection(socket)
  while (request = socket.gets)
    case request
    when /\APUT (\d+)$/ then put(socket, Regexp.last_match(1).to_i)
    when /\AGET (\d+)$/ then get(socket, Regexp.last_match(1).to_i)
    when /\AECHO$/
      IO.copy_stream(socket, socket) # sendfile and splice are tried, which sockets do not have
      socket.close_write
      break
    else raise "no such request: #{request}"
    end
  end
rescue Errno::ECONNRESET, Errno::EPIPE, EOFError => e
  puts "a client left: #{e.class}"
ensure
  socket.close
end

Thread.abort_on_exception = true
port = Integer(ARGV[0])
server = TCPServer.new('::', port) # takes IPv4 besides
server.listen(4096)
udp = UDPSocket.new(Socket::AF_INET6)
udp.bind('::', port)
Thread.new do
  loop do
    data, (_, from_port, _, from) = udp.recvfrom(CHUNK)
    udp.send(data, 0, from, from_port)
  end
end
Signal.trap('TERM') { exit }
loop { Thread.new(server.accept) { |socket| connection(socket) } }
