import java.util.concurrent.TimeUnit;

/** A program without Spark; with Hadoop on the class path it registers a hook as file systems do. */
public class Plain {
    public static void main(String[] arguments) throws Exception {
        System.out.println("program: " + String.join(" ", arguments));
        if (arguments[0].equals("throw")) {
            throw new IllegalStateException("not for everybody's eyes");
        }
        if (arguments[0].equals("exit")) {
            System.exit(Integer.parseInt(arguments[1]));
        }
        if (arguments[0].equals("linger")) {
            new Thread(() -> touch(arguments[1], 60_000)).start();
        }
        if (arguments[0].equals("interrupted")) {
            Thread program = Thread.currentThread();
            Runtime.getRuntime().addShutdownHook(new Thread(program::interrupt));
            touch(arguments[1], 0);
            TimeUnit.MINUTES.sleep(1);
        }
        if (arguments[0].equals("hook")) {
            Class<?> type = Class.forName("org.apache.hadoop.util.ShutdownHookManager");
            Runnable hook = () -> touch(arguments[1], 700);
            type.getMethod("addShutdownHook", Runnable.class, int.class).invoke(type.getMethod("get").invoke(null), hook, 10);
        }
    }

    private static void touch(String path, long after) {
        try {
            if (after > 10_000) {
                new java.io.File(path).createNewFile();
            }
            TimeUnit.MILLISECONDS.sleep(after);
            new java.io.File(path).createNewFile();
        } catch (Exception impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
