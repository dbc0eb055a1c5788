"""Where a packet's time goes inside QEMU: a running guest comes in, a recording goes out, and of that trees and charts.

`process`, `elf`, `perf_events`, `library` and the methods `uprobes`, `sampling`, `instrumented` touch the machine.
What they return are values; `handlers`, `calls`, `tree`, `shares`, `compare` and the reports are functions of them.
"""
