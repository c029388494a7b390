package org.apache.hadoop.shaded.org.apache.zookeeper;

import java.io.IOException;

/** An interface of ZooKeeper's client that Hadoop's minicluster JAR lacks: its name begins with "Test", and was left out. */
public interface Testable {
    void injectSessionExpiration();

    void queueEvent(WatchedEvent event);

    void closeSocket() throws IOException;
}
