import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.NoRouteToHostException;
import java.net.PortUnreachableException;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Client CONNECTIONS: a client of lib/peer.py's protocol at $PEER and $PEER6, port 7000. */
final class Client {
  private static final int PORT = 7000;
  private static final int BYTES = Integer.parseInt(System.getenv("TRANSFER_BYTES"));

  public static void main(String[] arguments) throws Exception {
    int connections = Integer.parseInt(arguments[0]);
    ExecutorService pool = Executors.newFixedThreadPool(100, Client::daemon);
    Future<?> unreachable = pool.submit(() -> { // the kernel asks for a neighbour for three seconds
      fails(SocketException.class, "Network is unreachable", () -> connect(System.getenv("NO_ROUTE"), PORT, 20000));
      fails(NoRouteToHostException.class, "No route to host", () -> connect(System.getenv("UNREACHABLE"), PORT, 20000));
      fails(NoRouteToHostException.class, "No route to host", () -> connect(System.getenv("UNREACHABLE6"), PORT, 20000));
      return null;
    });
    for (String host : new String[] {System.getenv("PEER"), System.getenv("PEER6")}) {
      transfer(host, BYTES);
      echo(host);
      threads(host, connections, pool);
      selected(host, connections);
      datagrams(host);
      errors(host);
    }
    unreachable.get();
  }

  /** A thread that does not outlive a failed main. */
  private static Thread daemon(Runnable task) {
    Thread thread = new Thread(task);
    thread.setDaemon(true);
    return thread;
  }

  private static void check(String what, Object expected, Object actual) {
    if (!expected.equals(actual)) throw new AssertionError(what + ": " + actual + ", expected " + expected);
  }

  private static void ok(String what) {
    System.out.println("ok: " + what);
  }

  private static void fails(Class<? extends Exception> kind, String words, Callable<?> call) {
    try {
      call.call();
    } catch (Exception e) {
      if (e.getClass() != kind || words != null && !e.getMessage().contains(words)) throw new AssertionError("another failure", e);
      ok(e.toString());
      return;
    }
    throw new AssertionError("no " + kind);
  }

  private static Socket connect(String host, int port, int milliseconds) throws IOException {
    Socket socket = new Socket();
    try {
      socket.connect(new InetSocketAddress(InetAddress.getByName(host), port), milliseconds);
    } catch (IOException e) {
      socket.close();
      throw e;
    }
    return socket;
  }

  private static void say(Socket socket, String words) throws IOException {
    socket.getOutputStream().write(words.getBytes(StandardCharsets.US_ASCII));
  }

  private static int transfer(String host, int count) throws IOException {
    try (Socket socket = connect(host, PORT, 60000); InputStream in = new BufferedInputStream(socket.getInputStream())) {
      socket.setSoTimeout(120000);
      say(socket, "PUT " + count + "\n");
      check(host + ": PUT", Protocol.send(socket.getOutputStream(), count), Protocol.line(in));
      say(socket, "GET " + count + "\n");
      check(host + ": GET", Protocol.receive(in, count), Protocol.line(in));
    }
    return count;
  }

  /** One thread writes and ends its half, the other reads until the end. */
  private static void echo(String host) throws Exception {
    try (Socket socket = connect(host, PORT, 60000)) {
      say(socket, "ECHO\n");
      Future<String> sent = Executors.newSingleThreadExecutor(Client::daemon).submit(() -> {
        String hash = Protocol.send(socket.getOutputStream(), BYTES);
        socket.shutdownOutput();
        return hash;
      });
      String received = Protocol.receive(socket.getInputStream(), BYTES);
      check(host + ": the end", -1, socket.getInputStream().read());
      check(host + ": ECHO", sent.get(), received);
    }
    ok(host + ": PUT, GET and ECHO of " + BYTES + " bytes");
  }

  private static void threads(String host, int connections, ExecutorService pool) throws Exception {
    List<Future<Integer>> transfers = new ArrayList<>();
    for (int i = 0; i < connections; i++) transfers.add(pool.submit(() -> transfer(host, 3000)));
    for (Future<Integer> one : transfers) check(host + ": bytes", 3000, one.get());
    ok(host + ": " + connections + " connections of 100 threads");
  }

  /** All at once in one thread: connect, send, and read an answer, each as the selector says. */
  private static void selected(String host, int connections) throws IOException {
    byte[] data = Protocol.random(3000);
    String expected = Protocol.md5(data) + "\n";
    ByteBuffer request = ByteBuffer.allocate(100 + data.length).put("PUT 3000\n".getBytes(StandardCharsets.US_ASCII)).put(data).flip();
    List<SocketChannel> channels = new ArrayList<>();
    try (Selector selector = Selector.open()) {
      for (int i = 0; i < connections; i++) {
        SocketChannel channel = SocketChannel.open();
        channels.add(channel);
        channel.configureBlocking(false);
        channel.connect(new InetSocketAddress(host, PORT));
        channel.register(selector, SelectionKey.OP_CONNECT, ByteBuffer.allocate(33));
        if (i % 50 == 49) selector.select(Client::finishConnect, 1); // SYNs at once are not what is tested
      }
      for (int done = 0; done < connections; ) {
        if (selector.select(60000) == 0) throw new IOException("no answer");
        for (SelectionKey key : selector.selectedKeys()) {
          SocketChannel channel = (SocketChannel) key.channel();
          ByteBuffer answer = (ByteBuffer) key.attachment();
          if (key.isConnectable()) finishConnect(key);
          else if (key.isWritable()) {
            channel.write(request.duplicate()); // less than a send buffer
            key.interestOps(SelectionKey.OP_READ);
          } else {
            if (channel.read(answer) < 0) throw new IOException("the server ended early");
            if (answer.hasRemaining()) continue;
            check(host + ": one of many", expected, new String(answer.array(), StandardCharsets.US_ASCII));
            key.interestOps(0);
            done++;
          }
        }
        selector.selectedKeys().clear();
      }
    }
    for (SocketChannel channel : channels) channel.close();
    ok(host + ": " + connections + " channels of one selector");
  }

  private static void finishConnect(SelectionKey key) {
    try {
      if (key.isConnectable() && ((SocketChannel) key.channel()).finishConnect()) key.interestOps(SelectionKey.OP_WRITE);
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  private static void datagrams(String host) throws IOException {
    try (DatagramChannel channel = DatagramChannel.open().connect(new InetSocketAddress(host, PORT)); Selector selector = Selector.open()) {
      channel.configureBlocking(false).register(selector, SelectionKey.OP_READ);
      for (int size : new int[] {1, 1472, 1473, 9000, 60000}) {
        ByteBuffer data = ByteBuffer.wrap(Protocol.random(size));
        boolean came = false;
        for (int attempt = 0; attempt < 10 && !came; attempt++) {
          channel.write(data.duplicate());
          ByteBuffer answer = ByteBuffer.allocate(Protocol.CHUNK);
          if (selector.select(key -> {}, 2000) > 0 && channel.receive(answer) != null) came = answer.flip().equals(data);
        }
        check(host + ": datagram of " + size, true, came);
      }
    }
    try (DatagramChannel closed = DatagramChannel.open().connect(new InetSocketAddress(host, PORT + 1))) {
      closed.socket().setSoTimeout(20000);
      closed.write(ByteBuffer.allocate(1));
      fails(PortUnreachableException.class, null, () -> closed.read(ByteBuffer.allocate(1)));
    }
    ok(host + ": datagrams");
  }

  private static void errors(String host) throws IOException {
    fails(ConnectException.class, "Connection refused", () -> connect(host, PORT + 1, 0));
    fails(ConnectException.class, "Connection refused", () -> SocketChannel.open(new InetSocketAddress(host, PORT + 1)));
    fails(SocketTimeoutException.class, "onnect timed out", () -> connect(host, PORT + 2, 1000));
    try (Socket silent = connect(host, PORT, 60000)) {
      say(silent, "SILENT\n");
      silent.setSoTimeout(300);
      fails(SocketTimeoutException.class, "Read timed out", () -> silent.getInputStream().read());
    }
    try (Socket reset = connect(host, PORT, 60000)) {
      say(reset, "RESET\n");
      fails(SocketException.class, "Connection reset", () -> reset.getInputStream().read());
    }
    // A thread waits in read when another closes the socket.
    Socket closed = connect(host, PORT, 60000);
    say(closed, "SILENT\n");
    Thread closer = new Thread(() -> {
      try {
        Thread.sleep(300); // so that the read is more likely to wait already; either order must end it
        closed.close();
      } catch (IOException | InterruptedException e) {
        e.printStackTrace();
      }
    });
    closer.start();
    fails(SocketException.class, "ocket closed", () -> closed.getInputStream().read());
  }
}
