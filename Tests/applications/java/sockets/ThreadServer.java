import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** ThreadServer PORT: blocking sockets, a thread for each connection; one for datagrams. */
final class ThreadServer {
  public static void main(String[] arguments) throws IOException {
    int port = Integer.parseInt(arguments[0]);
    DatagramSocket datagrams = new DatagramSocket(port);
    ExecutorService pool = Executors.newCachedThreadPool();
    pool.execute(() -> echo(datagrams));
    try (ServerSocket server = new ServerSocket(port, 4096)) {
      while (true) {
        Socket socket = server.accept();
        pool.execute(() -> serve(socket));
      }
    }
  }

  private static void echo(DatagramSocket socket) {
    try {
      while (true) {
        DatagramPacket packet = new DatagramPacket(new byte[Protocol.CHUNK], Protocol.CHUNK);
        socket.receive(packet);
        socket.send(packet);
      }
    } catch (IOException e) {
      e.printStackTrace();
    }
  }

  private static void serve(Socket socket) {
    try (socket; InputStream in = new BufferedInputStream(socket.getInputStream(), Protocol.CHUNK)) {
      OutputStream out = socket.getOutputStream();
      for (String line = Protocol.line(in); line != null; line = Protocol.line(in)) {
        String[] words = line.split(" ");
        switch (words[0]) {
          case "PUT" -> answer(out, Protocol.receive(in, Long.parseLong(words[1])));
          case "GET" -> answer(out, Protocol.send(out, Long.parseLong(words[1])));
          case "ECHO" -> {
            in.transferTo(out);
            socket.shutdownOutput();
            return;
          }
          default -> throw new IllegalArgumentException(line);
        }
      }
    } catch (SocketException | EOFException e) {
      System.out.println("a client left: " + e.getMessage());
    } catch (IOException e) {
      e.printStackTrace();
    }
  }

  private static void answer(OutputStream out, String hash) throws IOException {
    out.write((hash + "\n").getBytes(StandardCharsets.US_ASCII));
  }
}
