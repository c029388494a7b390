import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import org.apache.logging.log4j.spi.LoggerContext;
import org.apache.logging.log4j.spi.LoggerContextFactory;

/** What log4j would load before any main, if a job's own settings for it were found. */
public final class Forged implements LoggerContextFactory {
    static {
        try {
            Files.write(Paths.get(System.getenv("LEDGER")), "forged-log4j\n".getBytes(), StandardOpenOption.APPEND);
        } catch (Exception problem) {
            throw new IllegalStateException(problem);
        }
    }

    @Override
    public LoggerContext getContext(String name, ClassLoader loader, Object external, boolean current) {
        return null;
    }

    @Override
    public LoggerContext getContext(
        String name, ClassLoader loader, Object external, boolean current, URI configuration, String other) {
        return null;
    }

    @Override
    public void removeContext(LoggerContext context) {
        // There is none.
    }
}
