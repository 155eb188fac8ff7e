package iotdb_frames;

import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.apache.flink.table.functions.ScalarFunction;

/**
 * Ends a submitted job for good, with what a Python worker told.
 *
 * <p>Whatever a Python function raises, Flink goes back to the last checkpoint and tries it again.
 * Only a SuppressRestartsException says that this is of no use, and only Java can throw one.
 *
 * <p>Refusal.class beside this file is what runs; tests/engines/test_flink.py compiles this file and
 * compares. To change it: {@code javac --release 8 -g:none -cp "PYFLINK/lib/*" Refusal.java}
 */
public class Refusal extends ScalarFunction {
  public String eval(String told) {
    throw new SuppressRestartsException(new RuntimeException(told));
  }
}
