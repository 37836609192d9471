import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;

/** Parts of lib/peer.py's protocol. */
final class Protocol {
  static final int CHUNK = 1 << 16;

  private Protocol() {}

  static MessageDigest md5() {
    try {
      return MessageDigest.getInstance("MD5");
    } catch (NoSuchAlgorithmException impossible) {
      throw new AssertionError(impossible);
    }
  }

  static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  static String md5(byte[] data) {
    MessageDigest digest = md5();
    digest.update(data);
    return hex(digest);
  }

  static byte[] random(int count) {
    byte[] data = new byte[count];
    ThreadLocalRandom.current().nextBytes(data);
    return data;
  }

  /** A line without its end; null where the stream ends. */
  static String line(InputStream in) throws IOException {
    StringBuilder line = new StringBuilder();
    for (int c = in.read(); c != '\n'; c = in.read()) {
      if (c < 0) return null;
      line.append((char) c);
    }
    return line.toString();
  }

  static String receive(InputStream in, long left) throws IOException {
    MessageDigest digest = md5();
    byte[] data = new byte[CHUNK];
    while (left > 0) {
      int got = in.read(data, 0, (int) Math.min(left, CHUNK));
      if (got < 0) throw new EOFException(left + " bytes early");
      digest.update(data, 0, got);
      left -= got;
    }
    return hex(digest);
  }

  static String send(OutputStream out, long left) throws IOException {
    MessageDigest digest = md5();
    while (left > 0) {
      byte[] data = random((int) Math.min(left, CHUNK));
      digest.update(data);
      out.write(data);
      left -= data.length;
    }
    return hex(digest);
  }
}
