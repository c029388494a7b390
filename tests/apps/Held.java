import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;

/** It notes in a ledger that it runs, and as which driver; waits for a file; and ends as it is told. */
public final class Held {
    public static void main(String[] args) throws Exception {
        Path folder = Paths.get(args[0]);
        String name = args[1];
        String how = args[2];
        String driver = Paths.get(System.getProperty("user.dir")).getFileName().toString();
        Files.write(folder.resolve("ledger"), (name + " " + driver + "\n").getBytes(),
            StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        boolean held = args[3].equals("yes");
        while (held && !Files.exists(folder.resolve(name + ".release"))) {
            Thread.sleep(100);
        }
        if (how.equals("fail")) {
            throw new IllegalStateException("told to fail");
        }
    }
}
