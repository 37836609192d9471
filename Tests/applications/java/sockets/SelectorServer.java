import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/** SelectorServer PORT: the same protocol in one thread, under one Selector (epoll), datagrams too. */
final class SelectorServer {
  private enum State { LINE, PUT, GET, ECHO }

  /** One connection. What is to go is in `out`; nothing is read while something waits there. */
  private static final class Connection {
    final SocketChannel channel;
    final ByteBuffer in = ByteBuffer.allocateDirect(Protocol.CHUNK).limit(0);
    ByteBuffer out = ByteBuffer.allocate(0);
    final StringBuilder text = new StringBuilder();
    State state = State.LINE;
    long left;
    boolean ended;
    MessageDigest digest;

    Connection(SocketChannel channel) {
      this.channel = channel;
    }

    /** As far as it goes. Returns what must happen before it goes on; 0 where all is done. */
    int advance() throws IOException {
      while (true) {
        if (out.hasRemaining()) channel.write(out);
        if (out.hasRemaining()) return SelectionKey.OP_WRITE;
        if (state == State.GET) {
          produce();
        } else if (in.hasRemaining()) {
          consume();
        } else if (ended) {
          return 0;
        } else {
          int got = channel.read(in.clear());
          in.flip();
          if (got < 0) ended = true;
          if (got == 0) return SelectionKey.OP_READ;
        }
      }
    }

    private void produce() {
      if (left == 0) {
        answer();
        return;
      }
      byte[] data = Protocol.random((int) Math.min(left, Protocol.CHUNK));
      digest.update(data);
      left -= data.length;
      out = ByteBuffer.wrap(data);
    }

    private void consume() {
      switch (state) {
        case LINE -> {
          char c = (char) in.get();
          if (c == '\n') begin(text.toString().split(" "));
          else text.append(c);
        }
        case PUT -> {
          ByteBuffer part = in.slice(in.position(), (int) Math.min(left, in.remaining()));
          in.position(in.position() + part.remaining());
          left -= part.remaining();
          digest.update(part);
          if (left == 0) answer();
        }
        case ECHO -> out = ByteBuffer.allocate(in.remaining()).put(in).flip();
        default -> throw new AssertionError(state);
      }
    }

    private void begin(String[] words) {
      text.setLength(0);
      state = State.valueOf(words[0]);
      left = words.length > 1 ? Long.parseLong(words[1]) : 0;
      digest = Protocol.md5();
    }

    private void answer() {
      out = ByteBuffer.wrap((Protocol.hex(digest) + "\n").getBytes(StandardCharsets.US_ASCII));
      state = State.LINE;
    }
  }

  public static void main(String[] arguments) throws IOException {
    InetSocketAddress address = new InetSocketAddress(Integer.parseInt(arguments[0]));
    Selector selector = Selector.open();
    ServerSocketChannel server = ServerSocketChannel.open().bind(address, 4096);
    DatagramChannel datagrams = DatagramChannel.open().bind(address);
    server.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
    datagrams.configureBlocking(false).register(selector, SelectionKey.OP_READ);
    while (true) {
      selector.select(key -> {
        try {
          if (key.channel() == server) accept(server, selector);
          else if (key.channel() == datagrams) echo(datagrams);
          else serve(key);
        } catch (IOException e) {
          e.printStackTrace();
          key.cancel();
        }
      });
    }
  }

  private static void accept(ServerSocketChannel server, Selector selector) throws IOException {
    for (SocketChannel channel = server.accept(); channel != null; channel = server.accept()) {
      channel.configureBlocking(false).register(selector, SelectionKey.OP_READ, new Connection(channel));
    }
  }

  private static void echo(DatagramChannel channel) throws IOException {
    ByteBuffer data = ByteBuffer.allocate(Protocol.CHUNK);
    for (SocketAddress from = channel.receive(data); from != null; from = channel.receive(data.clear())) {
      channel.send(data.flip(), from);
    }
  }

  private static void serve(SelectionKey key) throws IOException {
    Connection connection = (Connection) key.attachment();
    int next = 0;
    try {
      next = connection.advance();
    } catch (IOException e) {
      System.out.println("a client left: " + e.getMessage());
    }
    if (next == 0) connection.channel.close();
    else key.interestOps(next);
  }
}
