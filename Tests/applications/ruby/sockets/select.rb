#!/usr/bin/ruby
# select.rb PORT: the same protocol as threads.rb in one thread: Socket, IO.select and the nonblocking calls.
require 'digest'
require 'socket'

CHUNK = 65_536
FULL = 1 << 20 # bytes that wait to be written, above which no more are read

# One connection: what came, what is to go, and what is being done.
class Connection
  attr_reader :socket

  def initialize(socket)
    @socket = socket
    @in = String.new(encoding: Encoding::BINARY)
    @out = String.new(encoding: Encoding::BINARY)
    @work = :line
    @left = 0
    @ended = false
  end

  def wants_read? = !@ended && @out.bytesize < FULL && @work != :get
  def wants_write? = !@out.empty?
  def done? = @ended && @out.empty? && @work != :get

  def read
    data = @socket.read_nonblock(CHUNK, exception: false)
    return if data == :wait_readable

    if data.nil?
      @ended = true
    else
      @in << data
    end
    advance
  end

  def write
    sent = @socket.write_nonblock(@out, exception: false)
    return if sent == :wait_writable

    @out = @out.byteslice(sent, @out.bytesize)
    advance
  end

  private

  # As far as it goes with what has come.
  def advance
    loop do
      case @work
      when :line then line = @in.slice!(/\A[^\n]*\n/) and begin_request(line)
      when :put then put
      when :get then get
      when :echo then @out << @in.slice!(0, @in.bytesize)
      end
      return if @work == :echo || (@work == :get && @out.bytesize >= FULL)
      return if @work == :line ? !@in.include?("\n") : @work == :put && @in.empty? && @left.positive?
    end
  end

  def begin_request(line)
    word, count = line.split
    @work = { 'PUT' => :put, 'GET' => :get, 'ECHO' => :echo }.fetch(word)
    @left = count.to_i
    @digest = Digest::MD5.new
  end

  def put
    data = @in.slice!(0, [@left, @in.bytesize].min)
    @digest << data
    @left -= data.bytesize
    finish if @left.zero?
  end

  def get
    while @left.positive? && @out.bytesize < FULL
      data = Random.bytes([@left, CHUNK].min)
      @digest << data
      @out << data
      @left -= data.bytesize
    end
    finish if @left.zero?
  end

  def finish
    @out << @digest.hexdigest << "\n"
    @work = :line
  end
end

listeners = [Addrinfo.tcp('0.0.0.0', ARGV[0]), Addrinfo.tcp('::', ARGV[0])].map do |address|
  socket = Socket.new(address.afamily, :STREAM)
  socket.setsockopt(:SOCKET, :REUSEADDR, true)
  socket.setsockopt(:IPV6, :V6ONLY, true) if address.ipv6?
  socket.bind(address)
  socket.listen(4096)
  socket
end
Signal.trap('TERM') { exit }
connections = {}
loop do
  readers = connections.each_value.select(&:wants_read?).map(&:socket)
  writers = connections.each_value.select(&:wants_write?).map(&:socket)
  readable, writable = IO.select(listeners + readers, writers)
  (readable & listeners).each do |listener|
    socket, = listener.accept_nonblock(exception: false)
    connections[socket] = Connection.new(socket) if socket.is_a?(Socket)
  end
  { read: readable - listeners, write: writable }.each do |what, sockets|
    sockets.each do |socket|
      connection = connections[socket] or next
      connection.public_send(what)
      ended = connection.done?
    rescue Errno::ECONNRESET, Errno::EPIPE => e
      puts "a client left: #{e.class}"
      ended = true
    ensure
      connections.delete(socket)&.socket&.close if ended
    end
  end
end
