package org.apache.hadoop.io;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.util.EnumSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Stands in for Hadoop's class of this name in the NodeManagers of a Kerberos cluster on one machine.
 *
 * <p>NodeManagers read through it the logs they aggregate. Hadoop's own needs its native library, which the jars do not hold, and the
 * NodeManager ends with the first application that has a log. It also insists that a log belongs to the user of the application; here, where
 * the DefaultContainerExecutor runs every container as the user who runs the cluster, none does. So this one opens files and asks no owner.
 */
public final class SecureIOUtils {
  private SecureIOUtils() {}

  public static FileInputStream openForRead(File file, String owner, String group) throws IOException {
    return new FileInputStream(file);
  }

  public static RandomAccessFile openForRandomRead(File file, String mode, String owner, String group) throws IOException {
    return new RandomAccessFile(file, mode);
  }

  public static FSDataInputStream openFSDataInputStream(File file, String owner, String group) throws IOException {
    return FileSystem.getLocal(new Configuration()).getRaw().open(new Path(file.getAbsolutePath()));
  }

  /** Creates a file that is not there yet, with the permissions of a mode such as 0640. */
  public static FileOutputStream createForWrite(File file, int mode) throws IOException {
    EnumSet<PosixFilePermission> permissions = EnumSet.noneOf(PosixFilePermission.class);
    PosixFilePermission[] fromHighestBit = PosixFilePermission.values(); // owner's read first, others' execute last
    for (int bit = 0; bit < fromHighestBit.length; bit++) {
      if ((mode >> (fromHighestBit.length - 1 - bit) & 1) == 1) {
        permissions.add(fromHighestBit[bit]);
      }
    }
    try {
      Files.newByteChannel(file.toPath(), EnumSet.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)).close();
    } catch (FileAlreadyExistsException exists) {
      throw new AlreadyExistsException(exists);
    }
    Files.setPosixFilePermissions(file.toPath(), permissions);
    return new FileOutputStream(file, true);
  }

  /** The file that was to be created is there. */
  public static class AlreadyExistsException extends IOException {
    private static final long serialVersionUID = 1L;

    public AlreadyExistsException(Throwable cause) {
      super(cause);
    }
  }
}
