package io.durablejob;

import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.Proxy;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The start gate, inside a Spark driver: no program runs before its claim is won.
 *
 * <p>Spark starts a generated class that does nothing but call {@link #main}. It asks the controller
 * for the claim; only a definite grant lets the user's main run, only a definite denial ends this
 * driver at once, and every other answer (none, an error, a page of some proxy) is asked again. Both
 * carry the header {@value #VERDICT}, so that no stranger's answer is taken for either.
 *
 * <p>Each JVM has a nonce of its own, because a JVM that Spark launches again has the same driver id.
 * The last thing that this JVM does is to report how the program ended, after Spark's and Hadoop's
 * own shutdown hooks, so that the next attempt does not overlap this one's tail.
 *
 * <p>System properties: spark.durablejob.tokenURL (the claim), spark.durablejob.mainClass (the
 * user's), spark.durablejob.mainFile (where it must lie, if that is on this machine),
 * spark.durablejob.patienceSeconds.
 */
public final class Gate {
    private static final String VERDICT = "Durablejob-Verdict";
    /** Empty, in the driver's own folder: keeps spark-submit from reading this machine's spark-defaults.conf. */
    private static final String PROPERTIES = "durablejob.properties";
    private static final int DENIED = 75;
    private static final int NO_ANSWER = 76;
    private static final int NO_FILE = 77;
    private static final int CONNECT_MILLIS = 5_000;
    private static final int READ_MILLIS = 10_000;
    private static final long FAREWELL_SECONDS = 10;
    private static final long LONGEST_PAUSE_MILLIS = 15_000;
    private static final int LONGEST_MESSAGE = 500;

    private static final String CLAIM = System.getProperty("spark.durablejob.tokenURL", "");
    private static final String NONCE = UUID.randomUUID().toString();
    private static final String DRIVER = driverId();

    /** What the shutdown hook reports; "exit" while the program runs: then somebody called System.exit. */
    private static volatile String how = "exit";
    private static volatile String message = "";
    /** Whether a signal began the shutdown; null before one has begun. */
    private static Boolean killed;

    private Gate() {
    }

    public static void main(String[] arguments) throws Throwable {
        pass();
        sayFarewellLast();
        requireMainFile();
        new File(PROPERTIES).createNewFile();
        Method program;
        try {
            ClassLoader loader = Thread.currentThread().getContextClassLoader();
            program = Class.forName(System.getProperty("spark.durablejob.mainClass"), true, loader)
                .getMethod("main", String[].class);
        } catch (Throwable problem) {
            threw(problem);
            throw problem;
        }
        try {
            program.invoke(null, (Object) arguments);
            how = "returned";
        } catch (InvocationTargetException problem) {
            threw(problem.getCause());
            throw problem.getCause();
        } catch (Throwable problem) {
            threw(problem);
            throw problem;
        }
    }

    /** Returns when the claim is won; ends this JVM when it is denied, or when nobody answers for long. */
    private static void pass() {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(patienceSeconds());
        long pause = 500;
        String last = "";
        while (true) {
            try {
                Answer answer = ask("start", "", READ_MILLIS);
                if (answer.granted()) {
                    return;
                }
                if (answer.denied()) {
                    halt(DENIED, "the claim is denied: " + answer.text);
                }
                last = "HTTP " + answer.status + " without a verdict";
            } catch (IOException problem) {
                last = problem.toString();
            }
            if (System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(pause) > deadline) {
                halt(NO_ANSWER, "the start gate gave no verdict; last: " + last);
            }
            System.err.println("durablejob: no verdict from the start gate yet (" + last + ")");
            sleep(pause);
            pause = Math.min(2 * pause, LONGEST_PAUSE_MILLIS);
        }
    }

    /** Tells the controller how the program ended; tries for ten seconds and never throws. */
    private static void farewell() {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(FAREWELL_SECONDS);
        String body = ",\"how\":" + quoted(endedByItself() ? how : "exit") + (message.isEmpty() ? "" : ",\"message\":" + quoted(message));
        while (true) {
            long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
            if (left <= 0) {
                return;
            }
            try {
                if (ask("ended", body, (int) left).settled()) {
                    return;
                }
            } catch (IOException | RuntimeException unanswered) {
                System.err.println("durablejob: the end could not be reported yet: " + unanswered);
            }
            sleep(Math.min(500, left));
        }
    }

    /**
     * Whether the program had ended before the shutdown began. A kill makes Spark's own hooks stop its
     * context, on which the program throws, or returns: that says nothing of how it would have ended.
     */
    private static synchronized boolean endedByItself() {
        if (killed == null) {
            // HotSpot handles a signal in a thread of this name, which waits for the hooks to finish.
            killed = Thread.getAllStackTraces().keySet().stream()
                .anyMatch(thread -> thread.getName().matches("SIG(TERM|INT|HUP) handler"));
        }
        return !killed;
    }

    /**
     * Runs the farewell as the last shutdown hook. Spark and Hadoop run theirs by falling priority
     * through Hadoop's manager (Spark's context at 50, file systems at 10); one of the JVM's own would
     * run beside them. The priority is far below theirs, and far from overflowing their comparison.
     */
    private static void sayFarewellLast() {
        // This one notes how the shutdown began, as soon as it begins: a kill may still follow it.
        Runtime.getRuntime().addShutdownHook(new Thread(Gate::endedByItself, "durablejob-shutdown"));
        try {
            Class<?> type = Class.forName("org.apache.hadoop.util.ShutdownHookManager", true,
                Thread.currentThread().getContextClassLoader());
            Object manager = type.getMethod("get").invoke(null);
            type.getMethod("addShutdownHook", Runnable.class, int.class, long.class, TimeUnit.class)
                .invoke(manager, (Runnable) Gate::farewell, -1_000_000, FAREWELL_SECONDS + 5, TimeUnit.SECONDS);
        } catch (ReflectiveOperationException | LinkageError | RuntimeException absent) {
            Runtime.getRuntime().addShutdownHook(new Thread(Gate::farewell, "durablejob-farewell"));
        }
    }

    /** Spark only warns when a JAR of scheme local or file is absent; the user should read more than a ClassNotFound. */
    private static void requireMainFile() {
        String path = System.getProperty("spark.durablejob.mainFile", "");
        if (path.isEmpty() || new File(path).exists()) {
            return;
        }
        how = "threw";
        message = "the application file " + path + " does not exist on the worker's machine " + hostName();
        System.err.println("durablejob: " + message);
        System.exit(NO_FILE);
    }

    /** Notes an exception; its text only where it is a name of a file or class (others may hold what is not ours to tell). */
    private static void threw(Throwable problem) {
        boolean names = problem instanceof FileNotFoundException || problem instanceof ReflectiveOperationException
            || problem instanceof LinkageError;
        message = names ? problem.toString() : problem.getClass().getName();
        how = "threw";
    }

    private static Answer ask(String what, String more, int timeoutMillis) throws IOException {
        // Never through a proxy that the job's own settings may name: it could answer in the gate's place.
        HttpURLConnection connection = (HttpURLConnection) new URL(CLAIM + "/" + what).openConnection(Proxy.NO_PROXY);
        try {
            byte[] body = ("{\"nonce\":" + quoted(NONCE) + ",\"driver\":" + quoted(DRIVER) + more + "}")
                .getBytes(StandardCharsets.UTF_8);
            connection.setInstanceFollowRedirects(false);
            connection.setConnectTimeout(Math.min(CONNECT_MILLIS, timeoutMillis));
            connection.setReadTimeout(timeoutMillis);
            connection.setRequestMethod("POST");
            connection.setRequestProperty("Content-Type", "application/json");
            connection.setRequestProperty("Connection", "close");
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(body.length);
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
            return new Answer(connection);
        } finally {
            connection.disconnect();
        }
    }

    private static String driverId() {
        // Worker sets it to ...?driverId=driver-20260101000000-0001&logType=stdout (DriverRunner.runDriver).
        String url = String.valueOf(System.getenv("SPARK_DRIVER_LOG_URL_STDOUT"));
        Matcher matcher = Pattern.compile("[?&]driverId=([A-Za-z0-9_-]+)").matcher(url);
        if (matcher.find()) {
            return matcher.group(1);
        }
        // On YARN it is the application's id, which each container's tells: container[_eEPOCH]_CLUSTER_APPLICATION_...
        Matcher container = Pattern.compile("container_(?:e[0-9]+_)?([0-9]+_[0-9]+)_.*")
            .matcher(String.valueOf(System.getenv("CONTAINER_ID")));
        return container.matches() ? "application_" + container.group(1) : "";
    }

    private static long patienceSeconds() {
        try {
            return Long.parseLong(System.getProperty("spark.durablejob.patienceSeconds", "600"));
        } catch (NumberFormatException unreadable) {
            return 600;
        }
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (IOException unknown) {
            return "";
        }
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.substring(0, Math.min(text.length(), LONGEST_MESSAGE)).toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || c > '~') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException ignored) {
            // Nobody interrupts this thread before the program runs; asking a little sooner does no harm.
        }
    }

    private static void halt(int code, String why) {
        System.err.println("durablejob: " + why);
        System.err.flush();
        Runtime.getRuntime().halt(code);
    }

    /** One answer of the gate: it counts only with our header. */
    private static final class Answer {
        final int status;
        final String verdict;
        final String text;

        Answer(HttpURLConnection connection) throws IOException {
            status = connection.getResponseCode();
            verdict = connection.getHeaderField(VERDICT);
            text = status >= 400 ? head(connection.getErrorStream()) : "";
        }

        boolean granted() {
            return status == 200 && "granted".equals(verdict);
        }

        boolean denied() {
            return (status == 403 || status == 409 || status == 410) && "denied".equals(verdict);
        }

        /** The end is noted, or will never be taken from this JVM. */
        boolean settled() {
            return denied() || status == 200 && "noted".equals(verdict);
        }

        private static String head(InputStream in) throws IOException {
            byte[] buffer = new byte[LONGEST_MESSAGE];
            int length = in == null ? 0 : Math.max(0, in.read(buffer));
            return new String(buffer, 0, length, StandardCharsets.UTF_8);
        }
    }
}
