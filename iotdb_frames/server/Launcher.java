import org.apache.iotdb.confignode.service.ConfigNode;
import org.apache.iotdb.db.service.DataNode;

/**
 * Runs both nodes of a local server in one JVM, and ends it when its owner is gone. With the argument
 * {@code confignode} or {@code datanode} it runs that node only.
 *
 * <p>One JVM starts in two thirds of the time of two and takes half their memory (3.7 s and 257 MB
 * against 5.5 s and 564 MB). The owner holds the other end of standard input, so the end of that
 * stream means that the owner is gone, however it went.
 *
 * <p>Launcher.class beside this file is what runs; tests/server/test_launcher.py compiles this file
 * and compares. To make it anew, with LIB the folder of IoTDB's jars:
 * {@code javac --release 17 -g:none -cp "LIB/*" Launcher.java}
 */
public class Launcher extends Thread {
  /** -Dlauncher.keeps_data=true: close the data in order first, which can take 39 s. */
  private static final boolean KEEPS_DATA = Boolean.getBoolean("launcher.keeps_data");

  private Launcher(String name) {
    super(name);
  }

  @Override
  public void run() {
    if (!getName().equals("watch")) {
      DataNode.main(new String[] {"-s"});
      return;
    }
    try {
      System.in.readAllBytes();
    } catch (java.io.IOException e) {
      // A broken pipe means the same as a closed one.
    }
    if (KEEPS_DATA) {
      System.exit(0);
    }
    Runtime.getRuntime().halt(0);
  }

  public static void main(String[] args) throws Exception {
    new Launcher("watch").start();
    if (args.length == 0 || args[0].equals("datanode")) {
      new Launcher("datanode").start();
    }
    if (args.length == 0 || args[0].equals("confignode")) {
      ConfigNode.main(new String[] {"-s"});
    }
  }
}
