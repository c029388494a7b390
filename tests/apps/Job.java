import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import org.apache.spark.sql.SparkSession;

/** A test application: it writes a line to a ledger when it starts, counts on executors, and ends as it is told. */
public final class Job {
    public static void main(String[] args) throws Exception {
        String name = args[1];
        String how = args[2];
        double seconds = Double.parseDouble(args[3]);
        note(args[0], name);
        if (how.startsWith("held-")) { // until the test lets it go on; then what comes after the dash
            Path released = Paths.get(args[0] + "." + name + ".released");
            while (!Files.exists(released)) {
                Thread.sleep(200);
            }
            how = how.substring("held-".length());
        }
        if (how.startsWith("count")) { // and then, with its executors still there, what comes after the plus
            try (SparkSession spark = SparkSession.builder().getOrCreate()) {
                long even = spark.range(1000).filter("id % 2 = 0").count();
                System.out.println("even numbers: " + even);
                if (even != 500) {
                    throw new IllegalStateException("counted " + even);
                }
                end(how.substring(how.indexOf('+') + 1), seconds);
            }
        } else {
            end(how, seconds);
        }
    }

    private static void end(String how, double seconds) throws Exception {
        Thread.sleep((long) (seconds * 1000));
        if (how.equals("throw")) {
            throw new IllegalArgumentException("boom from main");
        }
        if (how.startsWith("halt")) { // without any shutdown hook: nothing is cleaned up
            Runtime.getRuntime().halt(Integer.parseInt(how.substring(4)));
        }
        if (how.startsWith("exit")) {
            System.exit(Integer.parseInt(how.substring(4)));
        }
    }

    /** The ledger is a file, or the URL of a server that keeps one. */
    private static void note(String ledger, String name) throws Exception {
        if (ledger.startsWith("http")) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(ledger + "/" + name))
                .POST(HttpRequest.BodyPublishers.noBody()).build();
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding());
        } else {
            Path file = Paths.get(ledger);
            Files.write(file, (name + "\n").getBytes(), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }
    }
}
