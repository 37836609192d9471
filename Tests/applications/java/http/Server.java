import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/** Server FOLDER: HTTP at 8000, HTTPS at 8443 by server.p12 of FOLDER; asked as lib/peer_http.py is. */
final class Server {
  private static final int CHUNK = 1 << 16;

  public static void main(String[] arguments) throws Exception {
    KeyStore keys = KeyStore.getInstance("PKCS12");
    try (InputStream file = Files.newInputStream(Path.of(arguments[0], "server.p12"))) {
      keys.load(file, "secret".toCharArray());
    }
    KeyManagerFactory managers = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    managers.init(keys, "secret".toCharArray());
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(managers.getKeyManagers(), null, null);

    HttpsServer secure = HttpsServer.create(new InetSocketAddress(8443), 4096);
    secure.setHttpsConfigurator(new HttpsConfigurator(context));
    for (HttpServer server : new HttpServer[] {HttpServer.create(new InetSocketAddress(8000), 4096), secure}) {
      server.createContext("/random/", exchange -> random(exchange, true));
      server.createContext("/chunked/", exchange -> random(exchange, false));
      server.createContext("/hash", Server::hash);
      server.setExecutor(Executors.newCachedThreadPool());
      server.start();
    }
  }

  private static MessageDigest md5() {
    try {
      return MessageDigest.getInstance("MD5");
    } catch (java.security.NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible);
    }
  }

  private static void random(HttpExchange exchange, boolean hasLength) throws IOException {
    String path = exchange.getRequestURI().getPath();
    long left = Long.parseLong(path.substring(path.lastIndexOf('/') + 1));
    MessageDigest digest = md5();
    exchange.sendResponseHeaders(200, hasLength ? left + 32 : 0);
    try (OutputStream out = exchange.getResponseBody()) {
      while (left > 0) {
        byte[] data = new byte[(int) Math.min(left, CHUNK)];
        ThreadLocalRandom.current().nextBytes(data);
        digest.update(data);
        out.write(data);
        left -= data.length;
      }
      out.write(HexFormat.of().formatHex(digest.digest()).getBytes());
    }
  }

  private static void hash(HttpExchange exchange) throws IOException {
    MessageDigest digest = md5();
    try (InputStream in = exchange.getRequestBody()) {
      byte[] data = new byte[CHUNK];
      for (int got = in.read(data); got >= 0; got = in.read(data)) digest.update(data, 0, got);
    }
    byte[] answer = HexFormat.of().formatHex(digest.digest()).getBytes();
    exchange.sendResponseHeaders(200, answer.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(answer);
    }
  }
}
