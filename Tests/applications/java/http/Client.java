import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpTimeoutException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLHandshakeException;
import javax.net.ssl.TrustManagerFactory;

/**
 * Client FOLDER REQUESTS: a client of lib/peer_http.py at 8000 and 8443 of $PEER and $PEER6, and of nginx at 8444, which
 * speaks HTTP/2, has a file big, whose md5 is FOLDER's big.md5, and takes files by PUT. FOLDER has the authority's ca.pem.
 */
final class Client {
  private static final int BYTES = Integer.parseInt(System.getenv("TRANSFER_BYTES"));
  private static String[] hosts;
  private static SSLContext trusting;
  private static String big;
  private static int requests;

  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    requests = Integer.parseInt(arguments[1]);
    hosts = new String[] {System.getenv("PEER"), "[" + System.getenv("PEER6") + "]"};
    trusting = trust(folder.resolve("ca.pem"));
    big = Files.readString(folder.resolve("big.md5")).trim();
    for (String host : hosts) {
      for (String url : new String[] {"http://" + host + ":8000", "https://" + host + ":8443"}) {
        HttpClient client = client(HttpClient.Version.HTTP_1_1);
        transfer(client, url);
        many(client, url + "/random/", HttpClient.Version.HTTP_1_1);
      }
      multiplexed("https://" + host + ":8444");
      errors(host);
    }
    oldClient("http://" + hosts[0] + ":8000/random/" + BYTES);
  }

  private static HttpClient client(HttpClient.Version version) {
    return HttpClient.newBuilder().version(version).sslContext(trusting).connectTimeout(Duration.ofSeconds(60)).build();
  }

  private static SSLContext trust(Path authority) throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (InputStream file = Files.newInputStream(authority)) {
      store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    managers.init(store);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(null, managers.getTrustManagers(), null);
    return context;
  }

  private static void check(String what, Object expected, Object actual) {
    if (!expected.equals(actual)) throw new AssertionError(what + ": " + actual + ", expected " + expected);
  }

  private static void ok(String what) {
    System.out.println("ok: " + what);
  }

  private static String md5(byte[] data, int count) {
    try {
      MessageDigest digest = MessageDigest.getInstance("MD5");
      digest.update(data, 0, count);
      return HexFormat.of().formatHex(digest.digest());
    } catch (java.security.NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible);
    }
  }

  private static void checkTail(String what, byte[] body, int count) {
    check(what + ": length", count + 32, body.length);
    check(what, md5(body, count), new String(body, count, 32));
  }

  private static HttpRequest get(String url) {
    return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(120)).build();
  }

  private static byte[] random(int count) {
    byte[] data = new byte[count];
    ThreadLocalRandom.current().nextBytes(data);
    return data;
  }

  private static void transfer(HttpClient client, String url) throws Exception {
    for (String what : new String[] {"/random/", "/chunked/"}) {
      HttpResponse<byte[]> answer = client.send(get(url + what + BYTES), HttpResponse.BodyHandlers.ofByteArray());
      checkTail(url + what, answer.body(), BYTES);
    }
    byte[] data = random(BYTES);
    for (var body : List.of(HttpRequest.BodyPublishers.ofByteArray(data),
        HttpRequest.BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(data)))) { // the second in chunks
      HttpRequest put = HttpRequest.newBuilder(URI.create(url + "/hash")).PUT(body).build();
      check(url + ": PUT", md5(data, BYTES), client.send(put, HttpResponse.BodyHandlers.ofString()).body());
    }
    ok(url + ": " + BYTES + " bytes both ways, with a length and in chunks");
  }

  /** Asynchronously, 32 at once. */
  private static void many(HttpClient client, String url, HttpClient.Version version) throws Exception {
    Semaphore running = new Semaphore(32);
    List<CompletableFuture<Void>> all = new ArrayList<>();
    for (int i = 0; i < requests; i++) {
      int count = i;
      running.acquire();
      all.add(client.sendAsync(get(url + count), HttpResponse.BodyHandlers.ofByteArray()).thenAccept(answer -> {
        check(url + ": version", version, answer.version());
        checkTail(url + count, answer.body(), count);
      }).whenComplete((nothing, failure) -> running.release()));
    }
    for (CompletableFuture<Void> one : all) one.get();
    ok(url + ": " + requests + " requests");
  }

  private static void multiplexed(String url) throws Exception {
    HttpClient client = client(HttpClient.Version.HTTP_2);
    HttpResponse<byte[]> answer = client.send(get(url + "/big"), HttpResponse.BodyHandlers.ofByteArray());
    check(url + ": version", HttpClient.Version.HTTP_2, answer.version());
    check(url + ": big", big, md5(answer.body(), answer.body().length));

    byte[] data = random(BYTES);
    HttpRequest put = HttpRequest.newBuilder(URI.create(url + "/put/" + url.length())).PUT(HttpRequest.BodyPublishers.ofByteArray(data)).build();
    int status = client.send(put, HttpResponse.BodyHandlers.discarding()).statusCode();
    check(url + ": PUT", true, status == 201 || status == 204);
    answer = client.send(get(url + "/put/" + url.length()), HttpResponse.BodyHandlers.ofByteArray());
    check(url + ": what was put", md5(data, BYTES), md5(answer.body(), answer.body().length));

    Semaphore running = new Semaphore(32);
    List<CompletableFuture<HttpResponse<byte[]>>> all = new ArrayList<>();
    for (int i = 0; i < requests; i++) {
      running.acquire();
      all.add(client.sendAsync(get(url + "/small"), HttpResponse.BodyHandlers.ofByteArray())
          .whenComplete((response, failure) -> running.release()));
    }
    for (CompletableFuture<HttpResponse<byte[]>> one : all) checkTail(url + "/small", one.get().body(), 1000);
    ok(url + ": HTTP/2, " + BYTES + " bytes both ways, " + requests + " streams");
  }

  private interface Call {
    void run() throws Exception;
  }

  private static void fails(Class<? extends Exception> kind, Call call) throws Exception {
    try {
      call.run();
    } catch (Exception e) {
      if (!kind.isInstance(e)) throw e;
      ok(e.toString());
      return;
    }
    throw new AssertionError("no " + kind);
  }

  private static void errors(String host) throws Exception {
    HttpClient client = client(HttpClient.Version.HTTP_1_1);
    var discard = HttpResponse.BodyHandlers.discarding();
    fails(ConnectException.class, () -> client.send(get("http://" + host + ":7001/"), discard));
    HttpClient impatient = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(1)).build();
    fails(HttpConnectTimeoutException.class, () -> impatient.send(get("http://" + host + ":7002/"), discard));
    HttpRequest silent = HttpRequest.newBuilder(URI.create("http://" + host + ":8000/silent")).timeout(Duration.ofMillis(500)).build();
    fails(HttpTimeoutException.class, () -> client.send(silent, discard));
    fails(IOException.class, () -> client.send(get("http://" + host + ":8000/short"), discard));
    fails(SSLHandshakeException.class, () -> HttpClient.newHttpClient().send(get("https://" + host + ":8443/random/1"), discard));
  }

  private static void oldClient(String url) throws IOException {
    HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
    connection.setReadTimeout(120000);
    try (InputStream in = connection.getInputStream()) {
      checkTail(url, in.readAllBytes(), BYTES);
    }
    ok("HttpURLConnection");
  }
}
